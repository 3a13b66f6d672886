// SPDX-License-Identifier: Apache-2.0
// Memory that is not saved, for C++ programs: regions of crs.h that live as long as an object.
//
// What this file knows
//   Header only, over the C interface alone. C++17. What is excluded, included and rebuilt, and what a
//   function that rebuilds must not do, is told in crs.h.
#ifndef CRS_MEMORY_H
#define CRS_MEMORY_H

#include <crs/service.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace crs::api {

// A region; moves, never copies. An empty one is none.
class MemoryRegion {
 public:
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;
  const Error& error() const { return error_; }
  explicit operator bool() const { return id_ != 0; }

  // Before the memory is freed, or when it is to be saved again.
  Error forget() {
    const std::uint64_t id = std::exchange(id_, 0);
    return id != 0 ? last_error(crs_memory_forget(id)) : Error();
  }

 protected:
  MemoryRegion() = default;
  MemoryRegion(MemoryRegion&& other) noexcept
      : id_(std::exchange(other.id_, 0)), error_(std::move(other.error_)) {}
  MemoryRegion& operator=(MemoryRegion&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(error_, other.error_);
    return *this;
  }
  ~MemoryRegion() { (void)forget(); }
  void set(std::uint64_t id, int result) {
    id_ = result == CRS_SUCCESS ? id : 0;
    error_ = last_error(result);
  }

 private:
  std::uint64_t id_ = 0;
  Error error_;
};

// Left out of snapshots while it lives. error() tells whether it is.
class ExcludedMemory : public MemoryRegion {
 public:
  // 0: well. An exception is a failure.
  using Rebuild = std::function<int(void* pointer, std::size_t bytes)>;

  ExcludedMemory() = default;
  ExcludedMemory(const char* label, void* pointer, std::size_t bytes) {
    std::uint64_t id = 0;
    const int result = crs_memory_exclude(label, pointer, bytes, nullptr, nullptr, &id);
    set(id, result);
  }
  ExcludedMemory(const char* label, void* pointer, std::size_t bytes, Rebuild rebuild)
      : rebuild_(std::make_unique<Rebuild>(std::move(rebuild))) {
    std::uint64_t id = 0;
    const int result = crs_memory_exclude(label, pointer, bytes, call, rebuild_.get(), &id);
    set(id, result);
  }
  ExcludedMemory(ExcludedMemory&&) noexcept = default;
  ExcludedMemory& operator=(ExcludedMemory&& other) noexcept {
    std::swap(rebuild_, other.rebuild_);  // it goes with the region that may still call it
    MemoryRegion::operator=(std::move(other));
    return *this;
  }
  ~ExcludedMemory() { (void)forget(); }  // while rebuild_ is still there

 private:
  static int call(void* pointer, std::size_t bytes, void* context) {
    try {
      return (*static_cast<Rebuild*>(context))(pointer, bytes);
    } catch (...) {
      return -1;
    }
  }
  std::unique_ptr<Rebuild> rebuild_;
};

// Saved although it lies in what is excluded, while it lives.
class IncludedMemory : public MemoryRegion {
 public:
  IncludedMemory() = default;
  IncludedMemory(const char* label, const void* pointer, std::size_t bytes) {
    std::uint64_t id = 0;
    const int result = crs_memory_include(label, pointer, bytes, &id);
    set(id, result);
  }
  IncludedMemory(IncludedMemory&&) noexcept = default;
  IncludedMemory& operator=(IncludedMemory&&) noexcept = default;
};

}  // namespace crs::api

#endif  // CRS_MEMORY_H
