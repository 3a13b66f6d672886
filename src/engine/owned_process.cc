// SPDX-License-Identifier: Apache-2.0
#include "engine/owned_process.h"

#include <sys/wait.h>

#include <chrono>
#include <exception>
#include <thread>

#include "os/proc.h"

namespace crs {

OwnedProcess::~OwnedProcess() {
  if (pid_.v <= 0) return;
  kill(pid_.v, SIGKILL);
  try {
    reap();
  } catch (const std::exception&) {  // out of memory: it is dead all the same, and a zombie until we end
  }
}

void OwnedProcess::reap() const {
  // Its threads are traced by us, so each is ours to reap, and the leader comes last.
  for (int attempt = 0; attempt < 2000; ++attempt) {
    if (waitpid(pid_.v, nullptr, __WALL | WNOHANG) == pid_.v) return;
    if (const auto proc = ProcDir::open(pid_)) {
      if (const auto tids = proc->tasks()) {
        for (const Tid tid : *tids) {
          if (tid.v != pid_.v) waitpid(tid.v, nullptr, __WALL | WNOHANG);
        }
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

}  // namespace crs
