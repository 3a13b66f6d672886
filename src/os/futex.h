// SPDX-License-Identifier: Apache-2.0
// Futexes in memory that several processes share. Async-signal-safe.
//
// Kernel interfaces: futex(2).
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

namespace crs {

inline void wake_all(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// Sleeps while it holds `value`, for this long at most; null: without end. May return early. Sets errno.
inline void sleep_while(std::atomic<std::uint32_t>& word, std::uint32_t value, const timespec* longest) {
  syscall(SYS_futex, &word, FUTEX_WAIT, value, longest, nullptr, 0);
}

}  // namespace crs
