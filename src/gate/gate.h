// SPDX-License-Identifier: Apache-2.0
// Gate: keeps a checkpointer out of the critical sections of a participating process.
//
// What this file knows
//   The checkpointer's side of the control page (control_page.h). A process that has no such page, or one of
//   its parent (it was forked and never called the library since), does not take part, and is never waited
//   for. One checkpointer at a time: the lock on the page's file tells.
// What it leaves to others
//   Freezing: whoever freezes looks at is_open() once more before it reads anything.
//
// Kernel interfaces: proc(5) fd, flock(2), futex(2).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "gate/control_page.h"
#include "gate/hook_turns.h"
#include "os/deadline.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "store/manifest.h"

namespace crs {

// What a control page tells of a snapshot.
struct ControlSnapshot {
  std::string directory, component, job;
  std::uint64_t generation = 0, memory_bytes = 0, stored_bytes = 0, left_out_bytes = 0, stop_ns = 0;

  static ControlSnapshot of(const std::string& directory, const store::Manifest& manifest);
  void write_to(ControlPage& page) const;
};

// A control page, mapped.
class ControlMapping {
 public:
  // errors: unsupported (of another version), kernel.
  static Result<ControlMapping> map(OwnedFd file);
  ControlMapping(ControlMapping&& other) noexcept;
  ControlMapping& operator=(ControlMapping&& other) noexcept;
  ~ControlMapping();

  ControlPage& page() const { return *page_; }
  int fd() const { return file_.get(); }

  // The answer to a process that has itself saved; wakes it.
  void tell_failure(const Error& error) const;
  void tell_snapshot(const ControlSnapshot& snapshot, Answer answer) const;

 private:
  ControlMapping(OwnedFd file, ControlPage* page) : file_(std::move(file)), page_(page) {}
  OwnedFd file_;
  ControlPage* page_;
};

// That of a process that takes part, without waiting for anybody. errors: unsupported, kernel.
Result<std::optional<ControlMapping>> find_control_page(Pid pid);

// Not thread-safe.
class Gate {
 public:
  // nullopt: the process does not take part. errors: busy (another checkpointer is at it), unsupported.
  static Result<std::optional<Gate>> find(Pid pid);
  Gate(Gate&& other) noexcept;
  Gate& operator=(Gate&&) = delete;
  ~Gate();  // lets everybody go on

  // Asks for the gate and waits until no thread is in a critical section. `tell` hears for whom, in one
  // sentence, when it takes a while. errors: timeout, target_gone.
  Status await_open(const Deadline& deadline, const std::function<void(std::string)>& tell);
  bool is_open() const { return gate_word::sections(mapping_.page().gate.load()) == 0; }
  // For whoever does not freeze the process: after this no thread is in a critical section, and none enters
  // one until release(). errors: as of await_open().
  Status close(const Deadline& deadline, const std::function<void(std::string)>& tell);
  const ControlPage& page() const { return mapping_.page(); }
  // The process was captured: those who wait for it may go on, and its hooks are told so.
  void release();

  // The program's hooks, told of a failure when this ends unless they were told of something else. `limit`:
  // how long they may take; 0: no limit of their own.
  HookTurns& hooks() { return hooks_; }
  void set_component(const std::string& name);  // for whom the hooks get ready
  void set_hook_limit(std::chrono::seconds limit) { hook_limit_ = limit; }
  // The process ends next: waits for its hooks, if they got ready. A note where not all were done.
  std::optional<std::string> end_hooks(const Deadline& deadline);
  Status kill() const;  // SIGKILL

 private:
  Gate(Pid pid, OwnedFd pidfd, ControlMapping mapping, std::uint32_t round)
      : pid_(pid),
        pidfd_(std::move(pidfd)),
        mapping_(std::move(mapping)),
        round_(round),
        hooks_(pid, pidfd_.get(), mapping_.page()) {}
  std::string holder() const;
  void take_gate(bool shut);
  void let_go();

  Pid pid_;
  OwnedFd pidfd_;
  ControlMapping mapping_;
  std::uint32_t round_;  // of ours, in the gate's word
  HookTurns hooks_;
  std::chrono::seconds hook_limit_{0};
  bool asked_ = false;
};

}  // namespace crs
