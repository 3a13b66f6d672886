// SPDX-License-Identifier: Apache-2.0
#include "gate/gate.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "gate/program_text.h"
#include "os/file_io.h"
#include "os/futex.h"
#include "os/proc.h"

namespace crs {
namespace {

constexpr auto look_interval = std::chrono::microseconds(500);
constexpr auto patience = std::chrono::milliseconds(100);  // before the user is told

// The control page that the process has open, for reading and writing.
Result<std::optional<OwnedFd>> find_page(Pid pid, const ProcDir& proc) {
  CRS_TRY(const auto fds, proc.fds());
  const std::string wanted = std::string("/memfd:") + control_name + " (deleted)";
  for (const RemoteFd fd : fds) {
    const auto link = proc.read_link("fd/" + std::to_string(fd.v));
    if (!link || *link != wanted) continue;
    auto file = open_file("/proc/" + std::to_string(pid.v) + "/fd/" + std::to_string(fd.v), O_RDWR);
    if (!file) return std::move(file).error();
    return std::optional(std::move(*file));
  }
  return std::optional<OwnedFd>();
}

template <std::size_t size>
void put(const std::string& text, char (&field)[size]) {
  const std::size_t length = std::min(text.size(), size - 1);
  std::memcpy(field, text.data(), length);
  field[length] = '\0';
}

void answer(ControlPage& page, Answer answer) {
  page.answer.store(static_cast<std::uint32_t>(answer));
  wake_all(page.answer);
}

}  // namespace

Result<ControlMapping> ControlMapping::map(OwnedFd file) {
  // A page that could be taken away would end us with SIGBUS.
  const int seals = fcntl(file.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return Error(Errc::unsupported,
                 "the process has a control page whose size is not sealed, which no libcrs makes")
        .with_hint("use the crs that was installed with its libcrs");
  }
  void* const at = mmap(nullptr, control_size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return Error::from_errno(errno, "map the control page");
  // A helper that we fork is not seen with the process's memory.
  madvise(at, control_size, MADV_DONTFORK);
  ControlMapping mapping(std::move(file), static_cast<ControlPage*>(at));
  struct stat status {};
  if (fstat(mapping.fd(), &status) != 0 || status.st_size < static_cast<off_t>(control_size) ||
      mapping.page().magic != control_magic || mapping.page().version != control_version) {
    return Error(Errc::unsupported, "the process takes part by a libcrs of another version than this crs")
        .with_hint("use the crs that was installed with its libcrs");
  }
  return mapping;
}

ControlMapping::ControlMapping(ControlMapping&& other) noexcept
    : file_(std::move(other.file_)), page_(std::exchange(other.page_, nullptr)) {}
ControlMapping& ControlMapping::operator=(ControlMapping&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(page_, other.page_);
  return *this;
}
ControlMapping::~ControlMapping() {
  if (page_ != nullptr) munmap(page_, control_size);
}

ControlSnapshot ControlSnapshot::of(const std::string& directory, const store::Manifest& manifest) {
  std::uint64_t stored = 0;
  for (const auto& file : manifest.files) stored += file.bytes;
  return {.directory = directory,
          .component = manifest.component,
          .job = manifest.job,
          .generation = manifest.generation,
          .memory_bytes = manifest.memory_bytes,
          .stored_bytes = stored,
          .left_out_bytes = manifest.left_out_bytes,
          .stop_ns = manifest.stop_ns};
}

void ControlSnapshot::write_to(ControlPage& page) const {
  put(directory, page.directory);
  put(component, page.component);
  put(job, page.job);
  page.generation = generation;
  page.memory_bytes = memory_bytes;
  page.stored_bytes = stored_bytes;
  page.stop_ns = stop_ns;
  page.left_out_bytes = left_out_bytes;
}

void ControlMapping::tell_failure(const Error& error) const {
  put(error.to_string(), page_->message);
  put(error.hint(), page_->hint);
  page_->code = static_cast<std::int32_t>(error.code());
  page_->error_number = error.error_number();
  answer(*page_, Answer::failed);
}

void ControlMapping::tell_snapshot(const ControlSnapshot& snapshot, Answer what) const {
  snapshot.write_to(*page_);
  answer(*page_, what);
}

Result<std::optional<ControlMapping>> find_control_page(Pid pid) {
  const auto none = [] { return std::optional<ControlMapping>(); };
  const auto proc = ProcDir::open(pid);
  if (!proc) return none();  // whoever saves it will say so
  auto file = find_page(pid, *proc);
  if (!file || !*file) return none();
  CRS_TRY(auto mapping, ControlMapping::map(std::move(**file)));
  CRS_TRY(const auto status, proc->status());
  const auto ids = status.numbers("NSpid");
  if (ids.empty() || mapping.page().owner != static_cast<std::int32_t>(ids.back())) return none();
  return std::optional(std::move(mapping));
}

Result<std::optional<Gate>> Gate::find(Pid pid) {
  OwnedFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid.v, 0)));
  const int error_number = errno;
  CRS_TRY(auto found, find_control_page(pid));
  if (!found) return std::optional<Gate>();
  if (!pidfd) return Error::from_errno(error_number, "pidfd_open of " + to_string(pid));
  ControlMapping mapping = std::move(*found);
  // Who only asks whether somebody works holds the lock for a moment.
  for (int attempt = 0; flock(mapping.fd(), LOCK_EX | LOCK_NB) != 0; ++attempt) {
    if (errno != EWOULDBLOCK) return Error::from_errno(errno, "lock the control page");
    if (attempt == 40) {
      return Error(Errc::busy, "another checkpoint of " + to_string(pid) + " is being made")
          .with_hint("try again when it is done");
    }
    std::this_thread::sleep_for(look_interval);
  }
  // What is left in the word is of a checkpointer that is dead: we hold the lock.
  ControlPage& page = mapping.page();
  end_round(page, gate_word::round(page.gate.load()));
  const std::uint32_t round = 1 + page.rounds.fetch_add(1) % gate_word::last_round;
  return std::optional(Gate(pid, std::move(pidfd), std::move(mapping), round));
}

Gate::Gate(Gate&& other) noexcept
    : pid_(other.pid_),
      pidfd_(std::move(other.pidfd_)),
      mapping_(std::move(other.mapping_)),
      round_(other.round_),
      hooks_(std::exchange(other.hooks_, HookTurns::none())),
      hook_limit_(other.hook_limit_),
      asked_(std::exchange(other.asked_, false)) {}

Gate::~Gate() {
  if (hooks_.is_waiting()) hooks_.failed();
  let_go();
}

void Gate::release() {
  hooks_.captured();
  let_go();
}

std::optional<std::string> Gate::end_hooks(const Deadline& deadline) {
  const auto done = hooks_.end(deadline, hook_limit_);
  if (done) return std::nullopt;
  return "not all of its hooks for the end were done: " + done.error().to_string();
}

Status Gate::kill() const {
  if (syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0) == 0 || errno == ESRCH) return ok();
  return Error::from_errno(errno, "kill " + to_string(pid_));
}

void Gate::let_go() {
  if (!asked_) return;
  asked_ = false;
  end_round(mapping_.page(), round_);
}

void Gate::take_gate(bool shut) {
  asked_ = true;
  std::atomic<std::uint64_t>& gate = mapping_.page().gate;
  std::uint64_t word = gate.load();
  for (;;) {
    const bool stays_shut = gate_word::is_closed(word) && gate_word::round(word) == round_;
    if (gate.compare_exchange_weak(word, gate_word::with_round(word, round_, shut || stays_shut))) return;
  }
}

std::string Gate::holder() const {
  const ControlPage& page = mapping_.page();
  std::string text = "a critical section";
  if (const std::uint64_t label = page.label.load(); label != 0) {
    char name[64] = {};
    const std::size_t length = std::min<std::size_t>(sizeof name - 1, page_size - label % page_size);
    const iovec into{name, length};
    const iovec from{reinterpret_cast<void*>(label), length};  // NOLINT(performance-no-int-to-ptr): remote
    if (process_vm_readv(pid_.v, &into, 1, &from, 1, 0) > 0) text += " called '" + program_text(name) + "'";
  }
  return text + " (thread " + std::to_string(page.holder.load()) + ")";
}

void Gate::set_component(const std::string& name) {
  put(name, mapping_.page().asking);
}

Status Gate::close(const Deadline& deadline, const std::function<void(std::string)>& tell) {
  take_gate(true);
  return await_open(deadline, tell);
}

Status Gate::await_open(const Deadline& deadline, const std::function<void(std::string)>& tell) {
  using Clock = std::chrono::steady_clock;
  const auto since = Clock::now();
  take_gate(false);
  std::string told;
  while (!is_open()) {
    CRS_CHECK(deadline.check("the process was in " + holder()));
    pollfd ended{pidfd_.get(), POLLIN, 0};
    if (poll(&ended, 1, 0) == 1) return Error(Errc::target_gone, to_string(pid_) + " has ended");
    if (const std::string now = holder(); Clock::now() - since > patience && now != told) {
      tell("the checkpoint is delayed by " + now);
      told = now;
    }
    std::this_thread::sleep_for(look_interval);
  }
  return ok();
}

}  // namespace crs
