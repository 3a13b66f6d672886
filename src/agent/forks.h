// SPDX-License-Identifier: Apache-2.0
// Forks: what a forked child finds of libcrs.
//
// What this file knows
//   fork(2) copies the thread that calls it and the memory as it is: a lock that another thread holds would
//   stay locked for good, and what that thread was changing half changed. So there is one pair of handlers
//   for the whole library, registered before its first lock is ever taken: all locks are taken before the
//   fork, in the order in which they nest, and given back after it. None of them is held for long, and none
//   while code of the program is called: a hook may fork. What only other threads could finish begins anew in
//   the child. vfork(2), posix_spawn(3) and clone(2) call no handlers, and need none: such a child calls
//   nothing of ours.
// What it leaves to others
//   What a part does about it: each has the three functions below.
//
// Kernel interfaces: fork(2), pthread_atfork(3).
#pragma once

#include "os/result.h"

namespace crs::agent {

// Registers the handlers, once. Before a lock of this library is taken. Thread-safe.
Status watch_forks();

// Before: takes the part's locks. Afterwards, in the parent: gives them back. In the child, which has one
// thread: makes the part anew, locks included.
struct ForkPart {
  void (*before)();
  void (*in_parent)();
  void (*in_child)();
};
extern const ForkPart library_at_fork;
extern const ForkPart critical_sections_at_fork;
extern const ForkPart hooks_at_fork;
namespace self {
extern const ForkPart at_fork;
}
namespace memory {
extern const ForkPart at_fork;
}

}  // namespace crs::agent
