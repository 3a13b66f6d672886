// SPDX-License-Identifier: Apache-2.0
// The control page: what a participating process and a checkpointer tell each other.
//
// What this file knows
//   libcrs makes a memory file of this name, maps it shared, and keeps it open. A checkpointer finds it in
//   /proc/PID/fd and maps it, too. Both sides touch the words with atomic operations only. The first words
//   never change their place; a checkpointer refuses a page of a version that it does not know.
//
//   The gate. Its one word counts the critical sections that are entered. A checkpointer puts the number of
//   its round beside the count, waits until that is 0, freezes the process, and looks again: a thread that
//   slipped in makes it thaw and wait once more. While it works it holds a lock (flock(2)) on the file: with
//   the checkpointer the lock goes, however it ends, so that nobody waits for a dead one. Who finds such a
//   one takes its round out of the word, and only that: the next checkpointer has another.
//
//   A checkpointer that does not freeze the process closes the gate as well: who would enter a section waits
//   until it is done. While it is closed the count never leaves 0.
//
//   The answer. A process that has itself saved sets `answer` to asked and waits until it is something else.
//   The copy in a snapshot says asked; a restart puts restarted into the copy that it brings back.
//
//   The turn. Where `hooks` is not 0, a checkpointer asks the process to get ready before it freezes it, and
//   says afterwards what became of it; a thread of the process runs the hooks and answers (agent/hooks.h).
//   Only the holder of the lock asks. A copy in a snapshot says prepared; a restart makes that restarted.
//   Inside a `session` the process has prepared by itself: checkpointers leave the turn alone.
//
//   The memory. `memory` leads to a table of what the process wants left out (gate/memory_table.h). What it
//   rebuilds itself is rebuilt by the thread `rebuilder`, which a restart gives the turn "rebuild" and lets
//   run before all others: it answers with the turn `after_rebuild`, or with refused.
//
//   Words that came later are the last ones. In a page of an older libcrs they are 0, and an older
//   checkpointer does not look at them: it saves everything.
//
// Kernel interfaces: memfd_create(2), futex(2), flock(2).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ctime>

#include "os/futex.h"

namespace crs {

inline constexpr char control_name[] = "crs-control";
inline constexpr std::uint32_t control_magic = 0x53524343;  // "CCRS"
inline constexpr std::uint32_t control_version = 5;

// What the gate's word holds.
namespace gate_word {
inline constexpr std::uint64_t closed = std::uint64_t{1} << 32;
inline constexpr std::uint32_t last_round = 0x7fffffff;
constexpr std::uint32_t sections(std::uint64_t word) {
  return static_cast<std::uint32_t>(word);
}
// Of the checkpointer that waits or works; 0: none.
constexpr std::uint32_t round(std::uint64_t word) {
  return static_cast<std::uint32_t>(word >> 33);
}
constexpr bool is_closed(std::uint64_t word) {
  return (word & closed) != 0;
}
// The same count without a checkpointer.
constexpr std::uint64_t open(std::uint64_t word) {
  return word & 0xffffffff;
}
constexpr std::uint64_t with_round(std::uint64_t word, std::uint32_t number, bool shut) {
  return open(word) | std::uint64_t{number} << 33 | (shut ? closed : 0);
}
}  // namespace gate_word

enum class Answer : std::uint32_t { none = 0, asked = 1, continued = 2, restarted = 3, failed = 4 };

enum class Turn : std::uint32_t {
  idle = 0,       // the process: nothing is asked, or what was asked is done
  prepare = 1,    // the checkpointer: get ready
  prepared = 2,   // the process: it is
  stalled = 3,    // the process: not yet, `ready` will change
  refused = 4,    // the process: no, `message` says why; who had got ready is told of the failure
  captured = 5,   // the checkpointer: the image is taken, go on
  failed = 6,     // the checkpointer: nothing came of it
  ending = 7,     // the checkpointer: the snapshot is durable, the process ends next
  restarted = 8,  // a restart: this is the restored process
  rebuild = 9,    // a restart: rebuild memory, nobody else runs yet
};

struct ControlPage {
  std::uint32_t magic = control_magic;
  std::uint32_t version = control_version;
  std::int32_t owner = 0;      // the pid, as the process sees it: a forked child has a page of its own
  std::uint64_t identity = 0;  // of this page among all: random
  std::atomic<std::uint64_t> gate{0};    // gate_word; its upper half is a futex
  std::atomic<std::int32_t> holder{0};   // the thread that entered last
  std::atomic<std::uint64_t> label{0};   // address of its label in the process; 0: none
  std::atomic<std::uint32_t> answer{0};  // Answer; futex
  std::int32_t code = 0;                 // of failed: an Errc
  std::int32_t error_number = 0;
  std::uint32_t reserved = 0;
  std::uint64_t restarts = 0;  // how often it was brought back
  std::uint64_t generation = 0;
  std::uint64_t memory_bytes = 0, stored_bytes = 0, stop_ns = 0;
  std::atomic<std::uint32_t> hooks{0};    // how many are registered, and somebody runs them
  std::atomic<std::uint32_t> turn{0};     // Turn; futex
  std::atomic<std::uint32_t> ready{0};    // counts how often a stalled hook said that it is ready
  std::atomic<std::uint32_t> session{0};  // the token of the process's own quiesce session; 0: none
  std::uint32_t restarted_session = 0;    // of the session that a restart ended
  std::atomic<std::uint32_t> unused{0};   // of version 4: closed
  std::atomic<std::uint32_t> offers{0};   // it has regions or callbacks of component self
  std::atomic<std::uint64_t> table{0};    // address of what it saves by itself (gate/self_table.h); 0: none
  std::atomic<std::uint64_t> table_bytes{0};
  // Text, with a NUL at its end.
  char asking[64] = {};  // the component that the turn is asked for; "" in a session
  char component[64] = {};
  char job[256] = {};
  char directory[4096] = {};  // of the snapshot that was made, or that this process is brought back from
  char origin[4096] = {};     // of the snapshot that this process came from the last time
  char message[4096] = {};
  char hint[2048] = {};
  // From here on: came later.
  std::atomic<std::uint64_t> memory{0};    // address of the table of memory regions; 0: none
  std::atomic<std::int32_t> rebuilder{0};  // as the process sees it; 0: there is no such thread
  std::uint32_t after_rebuild = 0;         // Turn
  char rebuilding[80] = {};                // the label of what is being rebuilt
  std::uint64_t left_out_bytes = 0;        // of the snapshot that was made
  // Room in the process for variables that a restart hands over, NAME=VALUE, each with a NUL, one more behind
  // the last. 0: there is none.
  std::uint64_t variables = 0;  // its address
  std::uint64_t variables_bytes = 0;
  std::atomic<std::uint32_t> rounds{0};  // of checkpointers, how many there were
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(ControlPage) <= 16384);
static_assert(offsetof(ControlPage, gate) == 24);  // in version 4 the count, and behind it who waits

// The futex of the gate's word; only its address is used.
inline std::atomic<std::uint32_t>& rounds_futex(ControlPage& page) {
  return *(reinterpret_cast<std::atomic<std::uint32_t>*>(&page.gate) + 1);
}
// Takes a round out of the word, and nothing of any other, and wakes who waits for it. Async-signal-safe.
inline void end_round(ControlPage& page, std::uint32_t round) {
  std::uint64_t word = page.gate.load();
  while (gate_word::round(word) == round) {
    if (!page.gate.compare_exchange_weak(word, gate_word::open(word))) continue;
    wake_all(rounds_futex(page));
    return;
  }
}
// Sleeps while the round in the word is that of `word`, for this long at most. Sets errno.
inline void await_round(ControlPage& page, std::uint64_t word, const timespec& longest) {
  sleep_while(rounds_futex(page), static_cast<std::uint32_t>(word >> 32), &longest);
}

inline Turn turn_of(const ControlPage& page) {
  return static_cast<Turn>(page.turn.load());
}

inline constexpr std::uint64_t control_size = 16384;  // bytes, whole pages

}  // namespace crs
