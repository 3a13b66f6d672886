// SPDX-License-Identifier: Apache-2.0
#include "engine/wait_notes.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

namespace crs {
namespace {

// From the lowest bit: the call, how often it had slept, the end in units of 2^16 ns. The end of all ones is
// no end; that is 9 years after the start of the system.
constexpr std::array<std::uint64_t, 4> calls = {SYS_poll, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep};
constexpr int call_bits = 2, count_bits = 20, unit_bits = 16;
constexpr std::uint64_t count_mask = (std::uint64_t{1} << count_bits) - 1;
constexpr std::uint64_t no_end = (std::uint64_t{1} << (64 - call_bits - count_bits)) - 1;

// Below it are the values that the register has by itself; no end is so soon after the start of the system.
constexpr std::uint64_t smallest_note = std::uint64_t{1} << 32;

constexpr std::size_t status_register = offsetof(struct user, u_debugreg) + 6 * sizeof(long);

// From the stop in which a note is left to the stop in which it is found: that wait, and the stop itself.
constexpr std::uint64_t sleeps_between = 2;

std::optional<std::uint64_t> times_slept(const ProcDir& task) {
  const auto status = task.status();
  if (!status) return std::nullopt;
  return status->number("voluntary_ctxt_switches");
}

}  // namespace

std::optional<std::uint64_t> encode(const WaitNote& note, std::uint64_t times_slept) {
  const auto call = std::ranges::find(calls, note.call);
  if (call == calls.end()) return std::nullopt;
  std::uint64_t end = no_end;
  if (note.ends && note.ends->count() >= 0) {
    constexpr std::uint64_t unit = std::uint64_t{1} << unit_bits;
    end = std::min((static_cast<std::uint64_t>(note.ends->count()) + unit - 1) >> unit_bits, no_end);
  }
  const std::uint64_t word = end << (call_bits + count_bits) | (times_slept & count_mask) << call_bits |
                             static_cast<std::uint64_t>(call - calls.begin());
  if (word < smallest_note) return std::nullopt;
  return word;
}

std::optional<WaitNote> decode(std::uint64_t word, std::uint64_t times_slept) {
  if (word < smallest_note || (word >> call_bits & count_mask) != (times_slept & count_mask))
    return std::nullopt;
  WaitNote note;
  note.call = calls[word & (calls.size() - 1)];
  const std::uint64_t end = word >> (call_bits + count_bits);
  if (end != no_end) note.ends = std::chrono::nanoseconds(end << unit_bits);
  return note;
}

std::optional<WaitNote> find_note(Tid tid, const ProcDir& task) {
  errno = 0;
  const long word = ptrace(PTRACE_PEEKUSER, tid.v, status_register, nullptr);
  if (word == -1 && errno != 0) return std::nullopt;
  const auto now = times_slept(task);
  if (!now) return std::nullopt;
  return decode(static_cast<std::uint64_t>(word), *now - sleeps_between);
}

void leave_note(Tid tid, const ProcDir& task, const WaitNote& note) {
  const auto now = times_slept(task);
  const auto word = now ? encode(note, *now) : std::nullopt;
  if (word) ptrace(PTRACE_POKEUSER, tid.v, status_register, *word);
}

}  // namespace crs
