// SPDX-License-Identifier: Apache-2.0
#include "engine/shortened_waits.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

#include "engine/dead_register.h"
#include "engine/frozen_state.h"

namespace crs {
namespace {

// What lies below the red zone.
struct Replacement {
  timespec rest;
  std::uint64_t own_limit;  // address
  std::uint64_t seal;
};

constexpr std::uint64_t red_zone = 128;
constexpr int limit_argument = 2;  // rdx

RemoteAddr place_of(const user_regs_struct& registers) {
  return RemoteAddr((registers.rsp - red_zone - sizeof(Replacement)) & ~std::uint64_t{15});
}

std::uint64_t seal_of(const Replacement& replacement, RemoteAddr place) {
  constexpr std::uint64_t constant = 0x7265737465644352;
  return constant ^ replacement.own_limit ^ place.v;
}

// Resumes up to the entry of the call. false: something else came first, and the thread was let go with it.
bool reach_entry(Tid tid, const user_regs_struct& call) {
  if (ptrace(PTRACE_SYSCALL, tid.v, nullptr, nullptr) != 0) return false;
  const auto status = wait_for_stop(tid, Deadline());
  if (!status) return false;
  user_regs_struct now{};
  if (WSTOPSIG(*status) == (SIGTRAP | 0x80) && ptrace(PTRACE_GETREGS, tid.v, nullptr, &now) == 0 &&
      now.orig_rax == call.orig_rax && now.rip == call.rip && now.rsp == call.rsp &&
      static_cast<std::int64_t>(now.rax) == -ENOSYS) {
    return true;
  }
  const bool is_signal = *status >> 16 == 0 && WSTOPSIG(*status) != (SIGTRAP | 0x80);
  ptrace(PTRACE_DETACH, tid.v, nullptr, is_signal ? WSTOPSIG(*status) : 0);
  return false;
}

}  // namespace

std::optional<std::uint64_t> find_own_limit(const user_regs_struct& registers, const MemoryReader& read) {
  const RemoteAddr place = place_of(registers);
  if (registers.orig_rax != SYS_rt_sigtimedwait || registers.rdx != place.v) return std::nullopt;
  Replacement replacement{};
  if (!read(place, std::as_writable_bytes(std::span(&replacement, 1)))) return std::nullopt;
  if (replacement.seal != seal_of(replacement, place)) return std::nullopt;
  return replacement.own_limit;
}

bool can_be_shortened(const user_regs_struct& registers, const std::vector<Vma>& vmas,
                      const MemoryReader& read) {
  const RemoteAddr place = place_of(registers);
  const bool has_room = std::ranges::any_of(vmas, [&](const Vma& vma) {
    return vma.read && vma.write && !vma.shared && vma.contains(place.v) && vma.contains(registers.rsp);
  });
  return has_room && registers.orig_rax == SYS_rt_sigtimedwait &&
         argument_is_dead_at(limit_argument, RemoteAddr(registers.rip), read);
}

void let_go_shortened(Tid tid, const user_regs_struct& registers, std::chrono::nanoseconds left, int memory) {
  if (!reach_entry(tid, registers)) return;
  const RemoteAddr place = place_of(registers);
  const auto whole = std::chrono::floor<std::chrono::seconds>(left);
  Replacement replacement{{whole.count(), (left - whole).count()}, registers.rdx, 0};
  replacement.seal = seal_of(replacement, place);
  user_regs_struct call{};
  if (ptrace(PTRACE_GETREGS, tid.v, nullptr, &call) == 0 && call.rdx == registers.rdx &&
      pwrite_all(memory, std::as_bytes(std::span(&replacement, 1)), place.v, "the stack")) {
    call.rdx = place.v;
    ptrace(PTRACE_SETREGS, tid.v, nullptr, &call);
  }
  ptrace(PTRACE_DETACH, tid.v, nullptr, nullptr);
}

}  // namespace crs
