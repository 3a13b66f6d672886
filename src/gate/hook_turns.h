// SPDX-License-Identifier: Apache-2.0
// Hook turns: a checkpointer has a participating process get ready, and tells it what became of the
// checkpoint.
//
// What this file knows
//   The checkpointer's side of the turn in the control page (control_page.h). It never waits without a limit:
//   a process that dies, executes another program or hangs in a hook is an error here. What the process is
//   told afterwards it does by itself, and a checkpointer that ends without a word is taken for one that
//   failed.
// What it leaves to others
//   Running the hooks (agent/hooks.h).
//
// Kernel interfaces: futex(2), pidfd_open(2).
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "gate/control_page.h"
#include "os/deadline.h"
#include "os/ids.h"
#include "os/result.h"

namespace crs {

// Borrows page and pidfd. Not thread-safe.
class HookTurns {
 public:
  HookTurns(Pid pid, int pidfd, ControlPage& page) : pid_(pid), pidfd_(pidfd), page_(&page) {}

  static HookTurns none() { return HookTurns(); }
  HookTurns(HookTurns&&) = default;
  HookTurns& operator=(HookTurns&&) = default;

  bool has_hooks() const { return page_->hooks.load() != 0; }

  // Has all hooks get ready, again and again where one says that it is not yet. `limit`: how long the process
  // may take for one attempt; 0: as long as the deadline lets it. errors: refused (a hook said no), timeout,
  // target_gone.
  Status prepare(const Deadline& deadline, std::chrono::seconds limit,
                 const std::function<void(std::string)>& tell);

  // It has got ready, and does not know yet what became of it.
  bool is_waiting() const { return stage_ == Stage::asked; }
  // What became of it. Nothing is waited for. A failure may come behind captured(): the image was lost.
  void captured();
  void failed();

  // The snapshot is durable and the process ends next: waits until its hooks are done. errors: timeout,
  // target_gone.
  Status end(const Deadline& deadline, std::chrono::seconds limit);

 private:
  HookTurns() = default;
  using Clock = std::chrono::steady_clock;
  enum class Stage { untouched, asked, captured };
  void ask(Turn turn);
  Result<Turn> await_answer(Turn asked, const Deadline& deadline, std::chrono::seconds limit);
  // Until what the last checkpoint left to do is done.
  Status await_idle(const Deadline& deadline, std::chrono::seconds limit);
  Status check_alive(const Deadline& deadline) const;

  Pid pid_{0};
  int pidfd_ = -1;
  ControlPage* page_ = nullptr;
  Stage stage_ = Stage::untouched;
};

}  // namespace crs
