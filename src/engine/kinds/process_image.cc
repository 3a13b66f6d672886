// SPDX-License-Identifier: Apache-2.0
// Process image: the executable and where its parts are, as the kernel remembers them from execve(2).
//
// What this file knows
//   Fields 26-28 and 45-51 of /proc/PID/stat, /proc/PID/auxv, and the break, which only brk(2) inside tells.
//   They are what ps, /proc/PID/{exe,cmdline,environ,auxv} and debuggers see, and brk(2) goes on from them.
//   PR_SET_MM_MAP sets all in one call. It wants the ranges to be mapped already (Phase::memory is before),
//   and changes the executable only when no mapping of the previous one is left. The executable needs
//   CAP_CHECKPOINT_RESTORE, which a process in a user namespace of its own has there (since Linux 5.9); one
//   that executes this file already (rollback.h) needs no change.
//
// Kernel interfaces: prctl(2) PR_SET_MM_MAP, proc(5) stat, auxv, exe, brk(2).
#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "engine/executable.h"
#include "engine/kinds/process_image.pb.h"
#include "engine/obstacles.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::size_t auxv_limit = 4096;

class ProcessImageKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess&, Questions& questions) override {
    brk_ = questions.leader().call("brk", SYS_brk, 0);
    return ok();
  }

  Status collect(CollectContext& context) override {
    const FrozenProcess& target = context.target;
    auto link = target.proc().read_link("exe");
    if (!link && link.error().error_number() != ENAMETOOLONG) return std::move(link).error();
    std::string executable = link ? std::move(*link) : std::string();
    struct stat running {};
    struct stat on_disk {};
    if (fstatat(target.proc().fd(), "exe", &running, 0) != 0) return Error::from_errno(errno, "stat exe");
    if (const auto obstacle = executable.empty() ? too_long_a_name() : find_obstacle(executable)) {
      context.blockers.add("executable " + executable, obstacle->reason, obstacle->remedy);
    } else if (stat(executable.c_str(), &on_disk) != 0 || on_disk.st_ino != running.st_ino ||
               on_disk.st_dev != running.st_dev) {
      context.blockers.add("executable " + executable, "it was deleted or replaced while it runs",
                           "put the file that was started back under its name");
    }
    image_.set_executable(std::move(executable));
    image_.set_executable_size(static_cast<std::uint64_t>(running.st_size));
    image_.set_executable_mtime_ns(running.st_mtim.tv_sec * 1'000'000'000 + running.st_mtim.tv_nsec);
    const ProcStat& stat = target.stat();
    image_.set_start_code(stat.field(26));
    image_.set_end_code(stat.field(27));
    image_.set_start_stack(stat.field(28));
    image_.set_start_data(stat.field(45));
    image_.set_end_data(stat.field(46));
    image_.set_start_brk(stat.field(47));
    image_.set_arg_start(stat.field(48));
    image_.set_arg_end(stat.field(49));
    image_.set_env_start(stat.field(50));
    image_.set_env_end(stat.field(51));
    image_.set_brk(static_cast<std::uint64_t>(context.answers.leader().result(brk_)));
    CRS_TRY(const std::string auxv, target.proc().read("auxv"));
    image_.set_auxv(auxv);
    return ok();
  }

  Result<std::string> save() const override { return to_section(image_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, image_));
    if (image_.executable().empty() || image_.executable()[0] != '/' ||
        image_.executable().find('\0') != std::string::npos) {
      return Error(Errc::bad_snapshot, "the executable has an impossible path");
    }
    if (image_.auxv().size() > auxv_limit || image_.auxv().size() % 16 != 0) {
      return Error(Errc::bad_snapshot, "the auxiliary vector has an impossible size");
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    struct stat now {};
    const std::string object = "executable " + image_.executable();
    if (stat(image_.executable().c_str(), &now) != 0 || !S_ISREG(now.st_mode)) {
      context.blockers.add(object, "it is not there any more", "put the file back as it was");
      return ok();
    }
    const std::int64_t mtime = now.st_mtim.tv_sec * 1'000'000'000 + now.st_mtim.tv_nsec;
    const bool changed = static_cast<std::uint64_t>(now.st_size) != image_.executable_size() ||
                         mtime != image_.executable_mtime_ns();
    if (changed && !context.options.allow_changed_files) {
      context.blockers.add(
          object, "it was changed or replaced since the checkpoint",
          "put the file back as it was, or restart with --allow-changed-files if you know that it is "
          "equal where it matters");
    }
    return ok();
  }

  // The descriptor that PR_SET_MM_MAP wants; the engine closes it.
  Status restore_inside(InsideContext& context) override {
    CRS_TRY(const OwnedFd file, open_file(image_.executable(), O_RDONLY));
    if (dup3(file.get(), context.executable_fd, O_CLOEXEC) < 0) return Error::from_errno(errno, "dup3");
    return ok();
  }

  Result<bool> can_rewind_from(std::string_view) const override { return true; }
  Status rewind(RewindContext& context) override { return context.equal ? ok() : rebuild(context.calls); }

  Status rebuild(RebuildContext& context) override {
    CallBatch& batch = context.leader();
    prctl_mm_map map{};
    map.start_code = image_.start_code();
    map.end_code = image_.end_code();
    map.start_data = image_.start_data();
    map.end_data = image_.end_data();
    map.start_brk = image_.start_brk();
    map.brk = image_.brk();
    map.start_stack = image_.start_stack();
    map.arg_start = image_.arg_start();
    map.arg_end = image_.arg_end();
    map.env_start = image_.env_start();
    map.env_end = image_.env_end();
    map.auxv_size = static_cast<std::uint32_t>(image_.auxv().size());
    const bool has_it = executes_same_file(context.pid(), image_.executable());
    map.exe_fd = has_it ? ~std::uint32_t{0} : static_cast<std::uint32_t>(context.executable_fd());
    const auto auxv = batch.in(as_bytes(image_.auxv()));
    const auto argument = batch.in_value(map);
    batch.point(argument, offsetof(prctl_mm_map, auxv), auxv);
    batch.call("set the program's layout (PR_SET_MM_MAP)", SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, argument,
               sizeof map, 0);
    return ok();
  }

  nlohmann::json describe() const override {
    return {{"executable", image_.executable()}, {"brk", to_string(RemoteAddr(image_.brk()))}};
  }

 private:
  CallBatch::CallId brk_;
  state::ProcessImage image_;
};

}  // namespace

extern constinit const KindInfo kind_process_image{
    .section = "process_image", .phase = Phase::memory, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ProcessImageKind>();
    }};

}  // namespace crs
