// SPDX-License-Identifier: Apache-2.0
// Children: a fork that becomes another program, or tells why it could not.
//
// What this file knows
//   A pipe that execve(2) closes: its end of file says that the program runs, an errno in it that it does
//   not.
//
// Kernel interfaces: fork(2), execve(2), pipe(2).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "os/ids.h"
#include "os/result.h"

namespace crs {

// What execve(2) takes: pointers into the texts, which must outlive it, and a null pointer.
std::vector<char*> pointers_to(const std::vector<std::string>& texts);

// Forks. The child calls `become`, which makes only plain system calls and ends in an execve(2); it returns
// when that failed, with the errno set. `kept_fd` is a descriptor that it must leave open, a high one where
// there may be such.
// errors: with the errno of `become`; then no child is left. `what` names the program.
Result<Pid> start_child(const std::function<void(int kept_fd)>& become, const std::string& what);

}  // namespace crs
