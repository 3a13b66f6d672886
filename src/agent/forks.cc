// SPDX-License-Identifier: Apache-2.0
#include "agent/forks.h"

#include <pthread.h>

#include <array>

namespace crs::agent {
namespace {

// As their locks nest, the outermost first.
constexpr std::array parts = {&library_at_fork, &critical_sections_at_fork, &self::at_fork, &memory::at_fork,
                              &hooks_at_fork};

void before() {
  for (const ForkPart* part : parts) part->before();
}
void in_parent() {
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) (*part)->in_parent();
}
void in_child() {
  for (const ForkPart* part : parts) part->in_child();
}

}  // namespace

Status watch_forks() {
  static const int failure = pthread_atfork(before, in_parent, in_child);
  if (failure != 0) return Error::from_errno(failure, "pthread_atfork");
  return ok();
}

}  // namespace crs::agent
