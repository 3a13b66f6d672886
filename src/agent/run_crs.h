// SPDX-License-Identifier: Apache-2.0
// Running `crs`: the library has it do the work, in a process of its own.
//
// What this file knows
//   Nothing of the host program may get in the way, nor be disturbed: the new process shares memory with us
//   until it executes (CLONE_VM, CLONE_VFORK), so that a large or threaded program costs nothing; it gets its
//   own signal actions, no descriptors but its streams, and, where the host need not know of it, its end
//   raises no SIGCHLD and is not seen by waitpid(2) of others.
//
// Kernel interfaces: clone(2), close_range(2) (since Linux 5.9).
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "os/owned_fd.h"
#include "os/result.h"

namespace crs::agent {

// Where `crs` is: $CRS_PROGRAM, beside this library (../bin/crs), or in $PATH. errors: not_found.
Result<std::string> find_crs();

// Whoever wants to know what `crs` is at, and may want it to end: set for a thread, it holds for what that
// starts.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual int events()
      const = 0;  // borrowed: a file for its event lines (crs-checkpoint(1), --events); -1: none
  virtual void started(pid_t crs) = 0;
  virtual void reaps() = 0;  // its number is about to be free
  virtual void look() = 0;   // every now and then while it works
};
// Null: nobody.
void set_watcher(Watcher* watcher);

struct RunRequest {
  std::vector<std::string> words;  // without "crs"
  int output = -1;                 // its standard output; -1: /dev/null
  int keep = -1;                   // a descriptor that it gets as number 3; -1: none
  int events = -1;                 // one that it gets as number 4; -1: none
  bool our_streams = false;        // it gets the host's standard streams, and `output` does not count
  bool orphan = false;  // it is nobody's child here; what is answered has ended and is to be reaped
};

// Starts it; reap() must follow. errors: not_found, kernel.
Result<pid_t> start_crs(const RunRequest& request);
// Its wait status once it has ended; -1: somebody else waited for it.
int reap(pid_t pid);
// nullopt: it still runs.
std::optional<int> reap_if_ended(pid_t pid);

// Runs it to its end. Its answer as JSON; an error of `crs` comes back as that error.
Result<nlohmann::json> ask_crs(std::vector<std::string> words);
// The same for `crs restart`: what is restarted gets the host's standard streams, so the answer comes on
// another way.
Result<nlohmann::json> ask_crs_with_our_streams(std::vector<std::string> words);

// The same for `crs rollback` of the host, which may have no children when it goes back.
Result<nlohmann::json> ask_crs_as_orphan(std::vector<std::string> words);

// The error that `crs --json` told; nullopt: the answer is none.
std::optional<Error> error_in(const nlohmann::json& answer);

}  // namespace crs::agent
