// SPDX-License-Identifier: Apache-2.0
// Privileges: what this process may do, asked before it is tried.
//
// What this file knows
//   A capability counts in the user namespace that owns the object: a user who is root in a namespace of his
//   own has every capability, and none over the pid namespace outside of it.
//
// Kernel interfaces: capabilities(7), ioctl_ns(2) NS_GET_USERNS, user_namespaces(7).
#pragma once

namespace crs {

// clone3(2) with numbers of one's choice, in our pid namespace. False where it cannot be asked.
bool may_choose_pids();

// Pid and mount namespaces without a user namespace of their own.
bool may_make_namespaces();

}  // namespace crs
