// SPDX-License-Identifier: Apache-2.0
// NeverDestroyed: a static object that outlives exit(3).
//
// What this file knows
//   exit(3) destroys static objects while other threads of the program, and ours, run on: a thread that calls
//   hooks or waits for a checkpoint must still find what it uses. So what libcrs keeps for the process is
//   made once and never destroyed; its memory goes with the process.
#pragma once

#include <cstddef>
#include <new>

namespace crs::agent {

template <class T>
class NeverDestroyed {
 public:
  NeverDestroyed() { new (bytes_) T; }
  NeverDestroyed(const NeverDestroyed&) = delete;
  NeverDestroyed& operator=(const NeverDestroyed&) = delete;
  T& operator*() { return *std::launder(reinterpret_cast<T*>(bytes_)); }
  T* operator->() { return &**this; }

 private:
  alignas(T) std::byte bytes_[sizeof(T)];
};

}  // namespace crs::agent
