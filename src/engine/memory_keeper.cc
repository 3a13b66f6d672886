// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <thread>

#include "engine/page_saver.h"
#include "engine/remote_calls.h"
#include "os/privileges.h"

// Runs in the frozen process, in front of a batch whose first call has the parameters' address for its first
// argument (rbx: that call, r12: the loop). It touches no stack: the second process runs on the first one's.
//   parameters: 0 the second process's pid (-1, in the keeper's own memory: it is ready), 8 the keeper's, 16
//   our pid, 24 struct pollfd, 32 its time limit, 36 how many stretches are unmapped, 40 the keeper's name,
//   56 where the parameters are, 64 the stretches {start, bytes}
asm(R"(
  .pushsection .rodata.crs_keeper, "a", @progbits
  .hidden crs_keeper_code
  .hidden crs_keeper_code_end
  .globl crs_keeper_code
  .globl crs_keeper_code_end
crs_keeper_code:
  movq 8(%rbx), %r13
  movq %r13, 56(%r13)
  movl $0x804100, %edi          # CLONE_VM | CLONE_VFORK | CLONE_UNTRACED, and nobody is told of its end
  xorl %esi, %esi
  xorl %edx, %edx
  xorl %r10d, %r10d
  xorl %r8d, %r8d
  movl $56, %eax                # clone
  syscall
  testq %rax, %rax
  jz 1f
  movq %rax, 0(%r13)
  js 9f
  movl %eax, %edi
  xorl %esi, %esi
  movl $0x40000000, %edx        # __WALL
  xorl %r10d, %r10d
  movl $61, %eax                # wait4
  syscall
9:
  jmp *%r12
1:                              # the second: shares the memory, makes the third, ends
  movl $0x800000, %edi          # CLONE_UNTRACED
  xorl %esi, %esi
  xorl %edx, %edx
  xorl %r10d, %r10d
  xorl %r8d, %r8d
  movl $56, %eax                # clone
  syscall
  testq %rax, %rax
  jz 2f
  movq %rax, 8(%r13)
  xorl %edi, %edi
  movl $60, %eax                # exit
  syscall
2:                              # the third: the keeper
  movl 16(%r13), %edi
  xorl %esi, %esi
  movl $434, %eax               # pidfd_open
  syscall
  testl %eax, %eax
  js 8f
  movl %eax, %r14d
  movl %eax, 24(%r13)
  testl %r14d, %r14d
  jz 3f
  xorl %edi, %edi
  leal -1(%r14), %esi
  xorl %edx, %edx
  movl $436, %eax               # close_range
  syscall
3:
  leal 1(%r14), %edi
  movl $-1, %esi
  xorl %edx, %edx
  movl $436, %eax               # close_range
  syscall
  movl $112, %eax               # setsid
  syscall
  movl $15, %edi                # PR_SET_NAME
  leaq 40(%r13), %rsi
  movl $157, %eax               # prctl
  syscall
  movl $0x59616d61, %edi        # PR_SET_PTRACER, PR_SET_PTRACER_ANY
  movq $-1, %rsi
  movl $157, %eax               # prctl
  syscall
  leaq 64(%r13), %r14
  movl 36(%r13), %r15d
5:
  testl %r15d, %r15d
  jz 4f
  movq 0(%r14), %rdi
  movq 8(%r14), %rsi
  movl $11, %eax                # munmap
  syscall
  addq $16, %r14
  decl %r15d
  jmp 5b
4:
  movq $-1, 0(%r13)
6:
  leaq 24(%r13), %rdi
  movl $1, %esi
  movl 32(%r13), %edx
  movl $7, %eax                 # poll: until the process has ended
  syscall
  testl %eax, %eax
  js 6b
  jg 8f
  cmpl $0, 32(%r13)             # the limit passed: a negative one is there if it was told to stay
  js 6b
8:
  xorl %edi, %edi
  movl $231, %eax               # exit_group
  syscall
  hlt
crs_keeper_code_end:
  .popsection
)");
extern "C" const std::byte crs_keeper_code[], crs_keeper_code_end[];

namespace crs {

using state::Mapping;

namespace {

constexpr const char* key = "memory_keeper";
constexpr std::size_t start_time_field = 22;
constexpr std::int32_t first_limit = 60'000;  // milliseconds
constexpr std::uint64_t piece = 1u << 20;     // bytes that are read at once

struct Parameters {
  std::int64_t second = 0, keeper = 0;
  std::uint64_t pid = 0;
  std::int32_t fd = -1;
  std::int16_t events = POLLIN, revents = 0;
  std::int32_t limit = first_limit;
  std::uint32_t stretches = 0;
  char name[16] = "crs-memory";
  std::uint64_t place = 0;
};
static_assert(sizeof(Parameters) == 64 && offsetof(Parameters, fd) == 24 &&
              offsetof(Parameters, limit) == 32 && offsetof(Parameters, name) == 40);

bool has_ended(const ProcStat& stat) {
  return stat.state == 'Z' || stat.state == 'X';
}

Error refused(const std::string& why) {
  return Error(Errc::refused, "no process can keep its memory: " + why);
}

// What cannot be seen from outside would end the process, or make it the parent of its keeper.
Status check_possible(FrozenProcess& target, Deadline deadline) {
  if (target.status().numbers("NSpid").size() != 1 || target.ns_pid().v == 1)
    return refused("it lives in another pid namespace");
  if (target.ended_leader()) return refused("its first thread has ended");
  if (target.status().number("Seccomp").value_or(1) != 0) return refused("it is confined by seccomp");
  CallBatch batch;
  const auto answer = batch.in_value(std::int32_t{0});
  const auto asked = batch.try_call(SYS_prctl, PR_GET_CHILD_SUBREAPER, answer, 0, 0, 0);
  const RemoteJob job{0, &batch};
  CRS_CHECK(make_remote_calls(target, std::span(&job, 1), deadline));
  if (batch.result(asked) != 0 || batch.value<std::int32_t>(answer) != 0)
    return refused("it collects orphans (PR_SET_CHILD_SUBREAPER)");
  return ok();
}

}  // namespace

bool MemoryKeeper::can_hold(const Mapping& mapping) {
  constexpr std::uint64_t not_for_children = mapping_dont_fork | mapping_wipe_on_fork | mapping_droppable;
  if ((mapping.flags() & not_for_children) != 0) return false;
  if (mapping.type() == Mapping::PRIVATE_FILE) return true;
  // A file that was deleted or replaced under its mapping is saved whole, not only what was written.
  return mapping.type() == Mapping::ANONYMOUS &&
         (!mapping.name().starts_with('/') || mapping.name() == "/dev/zero");
}

Result<MemoryKeeper> MemoryKeeper::create(FrozenProcess& target, Deadline deadline) {
  CRS_CHECK(check_possible(target, deadline));
  struct Stretch {
    std::uint64_t start, bytes;
  };
  std::vector<Stretch> stretches;
  for (const Vma& vma : target.vmas()) {
    if (vma.shared) stretches.push_back({vma.start, vma.size()});
  }
  Parameters parameters;
  parameters.pid = static_cast<std::uint64_t>(target.ns_pid().v);
  parameters.stretches = static_cast<std::uint32_t>(stretches.size());
  Bytes bytes(sizeof parameters + std::span(stretches).size_bytes());
  std::memcpy(bytes.data(), &parameters, sizeof parameters);
  if (!stretches.empty())
    std::memcpy(bytes.data() + sizeof parameters, stretches.data(), std::span(stretches).size_bytes());
  CallBatch batch;
  const auto place = batch.in(bytes);
  batch.try_call(SYS_getpid, place);
  const std::span code(crs_keeper_code, static_cast<std::size_t>(crs_keeper_code_end - crs_keeper_code));
  CRS_CHECK(run_before_batch(target, code, batch, deadline));
  const auto after = batch.value<Parameters>(place);
  if (after.second < 0 || after.keeper <= 0) {
    const auto answer = after.second < 0 ? after.second : after.keeper;
    return Error::from_errno(static_cast<int>(-answer), "fork a keeper of its memory", Errc::refused);
  }
  CRS_TRY(MemoryKeeper keeper, open(Pid(static_cast<pid_t>(after.keeper)), std::nullopt));
  keeper.owned_ = true;
  CRS_CHECK(keeper.await_ready(RemoteAddr(after.place), deadline));
  keeper.limit_ = RemoteAddr(after.place + offsetof(Parameters, limit));
  return keeper;
}

// Until then it has the process's descriptors and shared memory, and looks like somebody who shares them.
Status MemoryKeeper::await_ready(RemoteAddr parameters, Deadline deadline) const {
  for (;;) {
    std::int64_t word = 0;
    CRS_CHECK(pread_exact(memory_.get(), std::as_writable_bytes(std::span(&word, 1)),
                          parameters.v + offsetof(Parameters, second), "the keeper"));
    if (word == -1) return ok();
    CRS_CHECK(check());
    CRS_CHECK(deadline.check("its memory was being kept"));
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

Result<MemoryKeeper> MemoryKeeper::open(Pid pid, std::optional<std::uint64_t> started) {
  auto proc = ProcDir::open(pid);
  const auto stat = proc ? proc->stat() : Result<ProcStat>(Error(proc.error()));
  if (!stat || has_ended(*stat) || (started && stat->field(start_time_field) != *started)) {
    return Error(Errc::not_found, "the process that kept the memory is gone")
        .with_hint("it ends with the program, or when the save point is released");
  }
  CRS_TRY(PageScanner scanner, PageScanner::open(*proc));
  CRS_TRY(OwnedFd memory, proc->open_entry("mem", O_RDWR));
  return MemoryKeeper(pid, stat->field(start_time_field), std::move(*proc), std::move(scanner),
                      std::move(memory));
}

Result<std::optional<MemoryKeeper>> MemoryKeeper::find(const store::Manifest& manifest) {
  const auto native = manifest.component_data.find("native");
  if (native == manifest.component_data.end() || !native->is_object()) return std::optional<MemoryKeeper>();
  const auto entry = native->find(key);
  if (entry == native->end()) return std::optional<MemoryKeeper>();
  const auto number = [&](const char* name) -> std::int64_t {
    const auto value = entry->is_object() ? entry->find(name) : entry->end();
    return entry->is_object() && value != entry->end() && value->is_number_integer()
               ? value->get<std::int64_t>()
               : -1;
  };
  const std::int64_t pid = number("pid"), started = number("started");
  if (pid <= 0 || pid > (1 << 22) || started < 0)
    return Error(Errc::bad_snapshot, "it names an impossible process that keeps its memory");
  CRS_TRY(MemoryKeeper keeper, open(Pid(static_cast<pid_t>(pid)), static_cast<std::uint64_t>(started)));
  return std::optional<MemoryKeeper>(std::move(keeper));
}

MemoryKeeper::~MemoryKeeper() {
  if (!owned_ || !memory_ || !check()) return;
  kill(pid_.v, SIGKILL);
}

Status MemoryKeeper::stay() {
  const std::int32_t for_ever = -1;
  CRS_CHECK(pwrite_all(memory_.get(), std::as_bytes(std::span(&for_ever, 1)), limit_.v, "the keeper"));
  return check();
}

void MemoryKeeper::describe(store::Manifest& manifest) const {
  manifest.component_data["native"][key] = {{"pid", pid_.v}, {"started", started_}};
}

Status MemoryKeeper::check() const {
  const auto stat = proc_.stat();
  if (stat && !has_ended(*stat)) return ok();
  return Error(Errc::target_gone, "the process that keeps the memory has ended");
}

Result<std::vector<PageRange>> MemoryKeeper::own_pages(std::uint64_t start, std::uint64_t end) const {
  return scanner_.own_pages(start, end);
}

Result<std::vector<PageRange>> MemoryKeeper::populated_pages(std::uint64_t start, std::uint64_t end) const {
  return scanner_.populated_pages(start, end);
}

Status MemoryKeeper::read(std::span<const iovec> from, std::span<std::byte> out) const {
  const iovec ours{out.data(), out.size()};
  if (process_vm_readv(pid_.v, &ours, 1, from.data(), from.size(), 0) == static_cast<ssize_t>(out.size()))
    return ok();
  std::size_t at = 0;
  for (const iovec& each : from) {
    CRS_CHECK(read(reinterpret_cast<std::uint64_t>(each.iov_base), out.subspan(at, each.iov_len)));
    at += each.iov_len;
  }
  return ok();
}

Status MemoryKeeper::read(std::uint64_t from, std::span<std::byte> out) const {
  const iovec ours{out.data(), out.size()};
  const iovec its{reinterpret_cast<void*>(from), out.size()};  // NOLINT: an address over there
  if (process_vm_readv(pid_.v, &ours, 1, &its, 1, 0) == static_cast<ssize_t>(out.size())) return ok();
  return pread_exact(memory_.get(), out, from, "kept memory");  // what the process itself may not read
}

Status MemoryKeeper::fill(std::span<const FillTarget> targets, unsigned workers, Deadline deadline) const {
  struct Piece {
    std::uint64_t from, bytes;
    std::byte* to;
  };
  std::vector<Piece> pieces;
  for (const FillTarget& target : targets) {
    CRS_TRY(const auto ranges, own_pages(target.start, target.end));
    for (const PageRange& range : ranges) {
      for (std::uint64_t at = range.start; at < range.end; at += piece)
        pieces.push_back({at, std::min(piece, range.end - at), target.memory + (at - target.start)});
    }
  }
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Error> failure;
  const auto work = [&] {
    for (std::size_t i = next++; i < pieces.size(); i = next++) {
      auto status = deadline.check("memory was being filled");
      if (status) status = read(pieces[i].from, std::span(pieces[i].to, pieces[i].bytes));
      if (status) continue;
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::move(status).error();
      next = pieces.size();
    }
  };
  const std::size_t count = std::min<std::size_t>(worker_count(workers), pieces.size());
  if (count <= 1) {
    work();
  } else {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back(work);
  }
  if (failure) return std::move(*failure);
  return check();
}

}  // namespace crs
