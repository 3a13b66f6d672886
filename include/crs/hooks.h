// SPDX-License-Identifier: Apache-2.0
// Hooks, quiesce sessions and state of one's own for C++ programs, as scoped objects.
//
// What this file knows
//   Header only, over the C interface (crs.h), which tells what each of them means and from which threads it
//   may be used. C++17. An exception that leaves a callable of the program is the answer hook_threw: it must
//   not cross the C interface.
// What it leaves to others
//   Checkpoints, snapshots, critical sections (service.h).
#ifndef CRS_HOOKS_H
#define CRS_HOOKS_H

#include <crs/crs.h>
#include <crs/service.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace crs::api {

inline constexpr int hook_threw = 1000;

// A function of the program that is called around each checkpoint, as long as this lives. Its end waits until
// the function is not being called any more; so it must not end inside a hook.
class Hook {
 public:
  using Function = std::function<int(crs_phase)>;  // CRS_HOOK_OK, CRS_HOOK_NOT_YET, or a failure

  Hook(const std::string& name, int order, Function function)
      : function_(std::make_unique<Function>(std::move(function))) {
    error_ = last_error(crs_hook_register(name.c_str(), order, call, function_.get(), &id_));
  }
  // Of callables that return nothing: they never say no.
  template <class Callable,
            std::enable_if_t<std::is_void_v<std::invoke_result_t<Callable&, crs_phase>>, int> = 0>
  static Hook that_never_refuses(const std::string& name, int order, Callable callable) {
    return Hook(name, order, [callable = std::move(callable)](crs_phase phase) mutable {
      callable(phase);
      return CRS_HOOK_OK;
    });
  }
  Hook(Hook&& other) noexcept
      : function_(std::move(other.function_)),
        id_(std::exchange(other.id_, 0)),
        error_(std::move(other.error_)) {}
  Hook& operator=(Hook&& other) noexcept {
    std::swap(function_, other.function_);
    std::swap(id_, other.id_);
    std::swap(error_, other.error_);
    return *this;
  }
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;
  // What a quiesce session keeps registered keeps its function, too.
  ~Hook() {
    if (id_ != 0 && crs_hook_unregister(id_) == CRS_ERR_BUSY) (void)function_.release();
  }

  const Error& error() const { return error_; }  // why it is not registered
  std::uint64_t id() const { return id_; }

 private:
  static int call(crs_phase phase, void* function) {
    try {
      return (*static_cast<Function*>(function))(phase);
    } catch (...) {
      return hook_threw;
    }
  }

  std::unique_ptr<Function> function_;
  std::uint64_t id_ = 0;
  Error error_;
};

// All hooks are ready as long as it lives, and no longer than `lifetime` (0: no limit), nor than the thread
// that made it.
class QuiesceSession {
 public:
  explicit QuiesceSession(std::chrono::nanoseconds lifetime = std::chrono::nanoseconds(0))
      : error_(last_error(crs_quiesce_begin(static_cast<std::uint64_t>(lifetime.count()), &token_))) {}
  QuiesceSession(const QuiesceSession&) = delete;
  QuiesceSession& operator=(const QuiesceSession&) = delete;
  ~QuiesceSession() { (void)end(); }

  const Error& error() const { return error_; }  // why there is none
  std::uint32_t token() const { return token_; }
  // Now, to hear whether it lasted until here.
  Error end() {
    const std::uint32_t token = std::exchange(token_, 0);
    return token != 0 ? last_error(crs_quiesce_end(token)) : Error();
  }

 private:
  std::uint32_t token_ = 0;
  Error error_;
};

// Memory that component self saves and puts back, as long as this lives. In a quiesce session, which keeps
// what is protected, the memory must outlive the session.
class SelfState {
 public:
  SelfState() = default;
  SelfState(const SelfState&) = delete;
  SelfState& operator=(const SelfState&) = delete;
  ~SelfState() {
    for (const std::string& name : names_) crs_self_unprotect(name.c_str());
  }

  // `count` objects of a type that is its bytes.
  template <class T>
  Error protect(const std::string& name, T* objects, std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T>, "only what is its bytes can be saved as bytes");
    static_assert(!std::is_const_v<T>, "a restart writes to it");
    Error error = last_error(crs_self_protect(name.c_str(), objects, count * sizeof(T)));
    if (!error) names_.push_back(name);
    return error;
  }
  template <class T>
  Error protect(const std::string& name, T& object) {
    return protect(name, &object, 1);
  }
  // A vector, or another range of contiguous memory; it must not be resized while it is protected.
  template <class T, class Allocator>
  Error protect(const std::string& name, std::vector<T, Allocator>& objects) {
    return protect(name, objects.data(), objects.size());
  }
  // After all is protected: `restarted` says whether it was loaded.
  static Error restore(bool& restarted) {
    int was = 0;
    Error error = last_error(crs_self_restore(&was));
    restarted = was != 0;
    return error;
  }

 private:
  std::vector<std::string> names_;
};

}  // namespace crs::api

#endif  // CRS_HOOKS_H
