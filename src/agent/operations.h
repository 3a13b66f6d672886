// SPDX-License-Identifier: Apache-2.0
// Operations: checkpoints and restarts that this process asks for, one after the other, also in the
// background.
//
// What this file knows
//   All of them stand in one queue, in the order in which they were asked for. One that was started has a
//   thread of its own, with all signals blocked, and ends in that thread. It reads the event lines of the
//   `crs` that works for it (run_crs.h), and cancelling it ends that `crs` by SIGTERM, which undoes
//   everything; one that has not had its turn leaves the queue. A process that is brought back from a
//   checkpoint which an operation made goes on in the operation's thread. A forked child has neither the
//   queue nor the operations of its parent.
// What it leaves to others
//   What is done when it has its turn (library.cc).
//
//   The descriptors of an operation are closed in a forked child: as shared ones they would keep both from
//   being saved.
//
// Kernel interfaces: eventfd(2), memfd_create(2), futex(2).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "agent/run_crs.h"
#include "os/deadline.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "service/states.h"

namespace crs::agent {

class Operation;

// A turn in the queue, for as long as it lives. Waits for it.
class QueueTurn {
 public:
  QueueTurn();
  // Gives up at the deadline. errors: timeout.
  static Result<std::unique_ptr<QueueTurn>> wait(const Deadline& deadline);
  QueueTurn(const QueueTurn&) = delete;
  QueueTurn& operator=(const QueueTurn&) = delete;
  ~QueueTurn();

 private:
  struct Taken {};
  explicit QueueTurn(Taken) {}
};

// In a forked child, which has one thread.
void forget_queue_after_fork();

struct OperationResult {
  State state = State::error;
  pid_t child = 0;  // of a restart
};
// What is to be done; `left`: of its time limit, in nanoseconds, when its turn comes; 0: there is none.
using OperationWork = std::function<Result<OperationResult>(std::uint64_t left)>;

struct OperationProgress {
  std::string phase = "queued";  // then what crs-checkpoint(1) tells, "ended"
  std::uint64_t done_bytes = 0, total_bytes = 0;
  std::string delayed;                       // why it waits; empty: it does not
  std::chrono::nanoseconds delayed_since{};  // CLOCK_MONOTONIC
};

class Operation : public Watcher {
 public:
  // Starts it. `limit` in nanoseconds, 0: none. errors: kernel, busy (256 have not been freed).
  static Result<std::shared_ptr<Operation>> start(OperationWork work, std::uint64_t limit);
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() override;

  // A forked child has a copy of what it cannot know the state of: then none of what follows may be called.
  bool is_of_this_process() const;
  // All are thread-safe.
  // nullopt: it is not done yet.
  std::optional<Result<OperationResult>> wait(const Deadline& deadline);
  OperationProgress progress();
  void cancel();
  bool was_cancelled() const { return was_cancelled_.load(); }  // and ended for it
  int ended_fd() const { return ended_fd_.get(); }              // readable when it has ended

  // Of its own thread.
  int events() const override { return events_.get(); }
  void started(pid_t crs) override;
  void reaps() override;
  void look() override;

 private:
  friend void forget_queue_after_fork();
  Operation() = default;
  bool take_place();
  void run();
  Result<OperationResult> work_in_turn();
  void note_event(const std::string& line);

  pid_t owner_ = 0;
  OperationWork work_;
  Deadline deadline_;
  OwnedFd ended_fd_, events_;  // events_: a memory file, which a snapshot of the process can hold
  off_t read_ = 0;             // of it
  std::string unread_;         // part of an event line
  std::atomic<bool> cancelled_{false}, was_cancelled_{false};
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  pid_t crs_ = 0;       // that works for it; 0: none
  bool begun_ = false;  // what is started afterwards only looks at what was made
  std::optional<Result<OperationResult>> result_;
  OperationProgress progress_;
};

// Operations of this process that have not ended.
int operations_going_on();

}  // namespace crs::agent
