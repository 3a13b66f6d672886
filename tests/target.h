// SPDX-License-Identifier: Apache-2.0
// Targets: programs that are saved and brought back, and then judge for themselves.
//
//   TARGET() {                        // arrange
//     int fd = OK(open("f", O_RDWR | O_CREAT, 0600));
//     checkpoint_here();              // saved, killed and restored right here (tests/run_target.py)
//     EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
//   }
//
// What a target may rely on
//   The working directory is its own and empty, and is kept when the test fails. Its standard streams are
//   /dev/null, and two files. The file name is the sentence that fails. Whatever a target prints is shown
//   when it fails. It is built with -pthread and without sanitizers.
// What a target must do
//   Reach checkpoint_here() or checkpoint_during() once or more often, and check something after the last of
//   them: a target that checked nothing fails. Leave within its deadline (20 seconds, or "// timeout: N").
// Comments at the head of the file that the harness reads (one a line; all are optional)
//   // flags: -static -mavx2           for the compiler and the linker
//   // compiler: musl-gcc              another compiler; the test is skipped where it is missing
//   // needs: root|user|WORDS          root or user: only as that one
//   // lock: NAME                      one test with this lock runs at a time: a device that all share
//   // expect: refused WORD WORD       the checkpoint must be refused, naming all words; the target runs on
//   // outside-view: skip maps smaps   these may differ when seen from outside (run_target.py lists them)
//   // timeout: SECONDS
//   // checkpoint-args: ARGS           more arguments for `crs checkpoint`
//   // restart-args: ARGS              more arguments for `crs restart`
//   // notes: WORD !WORD               what the notes of each `crs checkpoint` must name, and must not name
//   // settle: SECONDS                 how long the checkpoint waits after checkpoint_during() began (0.15)
//   // checkpoints: N                 that many, one after the other, in place of each; "settle" is between
//   them
//   // dead-time: SECONDS              how long the process stays dead before it is restored
//   // variants: once twice running    only these
// Works from C too (musl-gcc has no C++), without the C++ conveniences.
#ifndef CRS_TESTS_TARGET_H
#define CRS_TESTS_TARGET_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
#include <type_traits>
#endif

static void run_target(void);
#define TARGET() static void run_target(void)

// ------------------------------------------------------------------------------------------ the judge

static char target_dir[3072];
static int target_checkpoints;
static int target_checks;  // since the last checkpoint; changed by __atomic builtins
static int target_failures;

// Writes RESULT in one rename, so that the harness never reads half of it.
static inline void target_result(const char* text) {
  char temporary[sizeof target_dir + 16];
  char final_name[sizeof target_dir + 16];
  snprintf(temporary, sizeof temporary, "%s/.result", target_dir);
  snprintf(final_name, sizeof final_name, "%s/RESULT", target_dir);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ssize_t written = fd < 0 ? -1 : write(fd, text, strlen(text));
  if (fd < 0 || written != (ssize_t)strlen(text) || rename(temporary, final_name) != 0) {
    fprintf(stderr, "cannot write %s: %s\n", final_name, strerror(errno));
    _exit(3);
  }
  close(fd);
}

__attribute__((format(printf, 3, 4))) static inline void target_fail(const char* file, int line,
                                                                     const char* format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s:%d: %s\n", file, line, text);
  fflush(stderr);
  __atomic_add_fetch(&target_failures, 1, __ATOMIC_SEQ_CST);
}

// Ends the target at once as failed (its arrangement did not work, or going on makes no sense).
#define FATAL(...)                                \
  do {                                            \
    target_fail(__FILE__, __LINE__, __VA_ARGS__); \
    target_result("FAIL\n");                      \
    _exit(1);                                     \
  } while (0)

// Ends the target as skipped; the text says what the machine lacks.
#define SKIP(...)                                               \
  do {                                                          \
    char skip_text[512] = "SKIP ";                              \
    snprintf(skip_text + 5, sizeof skip_text - 5, __VA_ARGS__); \
    target_result(skip_text);                                   \
    _exit(77);                                                  \
  } while (0)

// OK(call): the value of a call that answers -1 (or MAP_FAILED) with errno; fatal if it does.
// OK0(call): a call of the pthread kind, which answers 0 or an error number.
#define OK(call)                                                           \
  __extension__({                                                          \
    __typeof__(call) ok_value = (call);                                    \
    if ((intptr_t)ok_value == -1) FATAL("%s: %s", #call, strerror(errno)); \
    ok_value;                                                              \
  })
#define OK0(call)                                                  \
  do {                                                             \
    int ok_error = (call);                                         \
    if (ok_error != 0) FATAL("%s: %s", #call, strerror(ok_error)); \
  } while (0)

#define EXPECT(condition)                                                          \
  do {                                                                             \
    __atomic_add_fetch(&target_checks, 1, __ATOMIC_SEQ_CST);                       \
    if (!(condition)) target_fail(__FILE__, __LINE__, "expected: %s", #condition); \
  } while (0)

#ifdef __cplusplus
namespace target_detail {
template <typename T>
long long number(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return static_cast<long long>(reinterpret_cast<intptr_t>(value));
  } else {
    return static_cast<long long>(value);
  }
}
template <typename A, typename B>
bool same(const A& a, const B& b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
    constexpr bool unlike = std::is_signed_v<A> != std::is_signed_v<B>;
    if constexpr (unlike) {
      if ((std::is_signed_v<A> && number(a) < 0) || (std::is_signed_v<B> && number(b) < 0)) return false;
    }
    return static_cast<unsigned long long>(a) == static_cast<unsigned long long>(b);
  } else {
    return a == b;
  }
}
}  // namespace target_detail
#define TARGET_NUMBER(value) target_detail::number(value)
#define TARGET_SAME(a, b) target_detail::same(a, b)
#define TARGET_AUTO auto
#else
#define TARGET_NUMBER(value) ((long long)(intptr_t)(value))
#define TARGET_SAME(a, b) ((a) == (b))
#define TARGET_AUTO __auto_type
#endif

#define TARGET_COMPARE(left, right, condition, sign)                                                     \
  do {                                                                                                   \
    TARGET_AUTO got_value = (left);                                                                      \
    TARGET_AUTO wanted_value = (right);                                                                  \
    __atomic_add_fetch(&target_checks, 1, __ATOMIC_SEQ_CST);                                             \
    if (!(condition))                                                                                    \
      target_fail(__FILE__, __LINE__,                                                                    \
                  "expected: %s %s %s\n    left:  %lld (0x%llx)\n    right: %lld (0x%llx)", #left, sign, \
                  #right, TARGET_NUMBER(got_value), (unsigned long long)TARGET_NUMBER(got_value),        \
                  TARGET_NUMBER(wanted_value), (unsigned long long)TARGET_NUMBER(wanted_value));         \
  } while (0)

// Whole numbers, enumerations, pointers; compared by value whatever their signedness.
#define EXPECT_EQ(left, right) TARGET_COMPARE(left, right, TARGET_SAME(got_value, wanted_value), "==")
#define EXPECT_NE(left, right) TARGET_COMPARE(left, right, !TARGET_SAME(got_value, wanted_value), "!=")
// Whole numbers of at most 63 bits.
#define EXPECT_GE(left, right) \
  TARGET_COMPARE(left, right, TARGET_NUMBER(got_value) >= TARGET_NUMBER(wanted_value), ">=")
#define EXPECT_LE(left, right) \
  TARGET_COMPARE(left, right, TARGET_NUMBER(got_value) <= TARGET_NUMBER(wanted_value), "<=")
#define EXPECT_STR(left, right)                                                                          \
  do {                                                                                                   \
    const char* got_text = (left);                                                                       \
    const char* wanted_text = (right);                                                                   \
    __atomic_add_fetch(&target_checks, 1, __ATOMIC_SEQ_CST);                                             \
    if (strcmp(got_text, wanted_text) != 0)                                                              \
      target_fail(__FILE__, __LINE__, "expected: %s == %s\n    left:  %s\n    right: %s", #left, #right, \
                  got_text, wanted_text);                                                                \
  } while (0)
// A call that must fail with this errno.
#define EXPECT_ERRNO(call, wanted_errno) \
  do {                                   \
    errno = 0;                           \
    EXPECT_EQ((long)(call), -1L);        \
    EXPECT_EQ(errno, wanted_errno);      \
  } while (0)

// -------------------------------------------------------------------------------- the point of saving

// The target tells the harness by a file and waits by looking for another one, because a test about
// signals, descriptors or futexes must not find the harness using them. Only raw calls and no C library
// state; the one descriptor is closed again before the harness can act on it.
static inline void target_announce(const char* kind) {
  char name[sizeof target_dir + 32];
  char temporary[sizeof target_dir + 32];
  target_checkpoints++;
  __atomic_store_n(&target_checks, 0, __ATOMIC_SEQ_CST);
  snprintf(temporary, sizeof temporary, "%s/.ready", target_dir);
  snprintf(name, sizeof name, "%s/READY.%d", target_dir, target_checkpoints);
  fflush(NULL);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ssize_t written = fd < 0 ? -1 : write(fd, kind, strlen(kind));
  if (written < 0) FATAL("cannot write %s: %s", temporary, strerror(errno));
  close(fd);
  if (rename(temporary, name) != 0) FATAL("cannot write %s: %s", name, strerror(errno));
}

static inline void target_await_go(void) {
  char name[sizeof target_dir + 32];
  snprintf(name, sizeof name, "%s/GO.%d", target_dir, target_checkpoints);
  struct timespec pause = {0, 2000000};
  while (syscall(SYS_access, name, F_OK) != 0) syscall(SYS_nanosleep, &pause, NULL);
}

// The harness freezes, saves, kills and restores this process right here.
static inline void checkpoint_here(void) {
  target_announce("here\n");
  target_await_go();
}

// The same while this thread is inside of something: begin_checkpoint(), the call that must be interrupted,
// end_checkpoint(). The checkpoint is made a moment ("// settle:") after begin_checkpoint().
static inline void begin_checkpoint(void) {
  target_announce("during\n");
}
static inline void end_checkpoint(void) {
  target_await_go();
}

#ifdef __cplusplus
template <typename Call>
auto checkpoint_during(Call call) {
  begin_checkpoint();
  auto result = call();
  int call_errno = errno;
  end_checkpoint();
  errno = call_errno;
  return result;
}
#endif

// --------------------------------------------------------------------------------- small conveniences

static inline int64_t monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void sleep_ms(int ms) {
  struct timespec rest = {ms / 1000, (long)(ms % 1000) * 1000000};
  while (nanosleep(&rest, &rest) != 0) {
  }
}

static inline int64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// How long ago the harness let the process go on after the last checkpoint, in milliseconds; negative if it
// has not yet. What a sleep may still take is counted from there, since only the harness knows how long the
// process was away.
static inline int64_t ms_since_go(void) {
  char name[sizeof target_dir + 32];
  struct stat status;
  struct timespec now;
  snprintf(name, sizeof name, "%s/GO.%d", target_dir, target_checkpoints);
  if (stat(name, &status) != 0) return -1;
  clock_gettime(CLOCK_REALTIME, &now);
  return (now.tv_sec - status.st_mtim.tv_sec) * 1000 + (now.tv_nsec - status.st_mtim.tv_nsec) / 1000000;
}

// Waits until the condition holds; fatal after ten seconds, so that a failure has a line.
#define AWAIT(condition)                                                              \
  do {                                                                                \
    int64_t await_until = monotonic_ms() + 10000;                                     \
    while (!(condition)) {                                                            \
      if (monotonic_ms() > await_until) FATAL("ten seconds without: %s", #condition); \
      sleep_ms(1);                                                                    \
    }                                                                                 \
  } while (0)

// The whole of a small file (a /proc file, say) in a static buffer: good until the next call.
static inline const char* read_text(const char* path) {
  static char text[1 << 20];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) FATAL("open %s: %s", path, strerror(errno));
  size_t length = 0;
  ssize_t n;
  while (length < sizeof text - 1 && (n = read(fd, text + length, sizeof text - 1 - length)) > 0)
    length += (size_t)n;
  close(fd);
  text[length] = 0;
  return text;
}

// Runs in a process of its own and tells how it ended (waitpid's status): for asking from outside.
#ifdef __cplusplus
#include <sys/wait.h>
template <typename Body>
int in_child(Body body) {
  pid_t child = OK(fork());
  if (child == 0) _exit(body());
  int status = 0;
  OK(waitpid(child, &status, 0));
  return status;
}

// A descriptor with an owner.
class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  OwnedFd& operator=(OwnedFd&&) = delete;
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  operator int() const { return fd_; }  // borrowed by system calls

 private:
  int fd_;
};

// A thread that runs `body` and is joined by join() or at the end. The answer of join() is body's.
template <typename Body>
class TargetThread {
 public:
  explicit TargetThread(Body body) : body_(body) {
    OK0(pthread_create(&thread_, nullptr, &TargetThread::start, this));
    tid();  // until it runs: a thread that is being made still has all signals blocked
  }
  TargetThread(const TargetThread&) = delete;
  TargetThread& operator=(const TargetThread&) = delete;
  ~TargetThread() { join(); }
  intptr_t join() {
    if (!joined_) {
      OK0(pthread_join(thread_, &result_));
      joined_ = true;
    }
    return reinterpret_cast<intptr_t>(result_);
  }
  pthread_t handle() const { return thread_; }
  pid_t tid() const {
    while (__atomic_load_n(&tid_, __ATOMIC_ACQUIRE) == 0) sleep_ms(1);
    return tid_;
  }

 private:
  static void* start(void* self_pointer) {
    auto* self = static_cast<TargetThread*>(self_pointer);
    __atomic_store_n(&self->tid_, static_cast<pid_t>(syscall(SYS_gettid)), __ATOMIC_RELEASE);
    if constexpr (std::is_void_v<decltype(self->body_())>) {
      self->body_();
      return nullptr;
    } else {
      return reinterpret_cast<void*>(static_cast<intptr_t>(self->body_()));
    }
  }
  Body body_;
  pthread_t thread_{};
  pid_t tid_ = 0;
  void* result_ = nullptr;
  bool joined_ = false;
};
#endif

// ---------------------------------------------------------------------------------------------- main

int main(int argc, char** argv) {
  (void)argc;
  (void)argv;
  if (getcwd(target_dir, sizeof target_dir) == NULL) return 3;
  run_target();
  if (target_failures == 0 && target_checkpoints == 0)
    target_fail(__FILE__, __LINE__, "no checkpoint was made");
  if (target_failures == 0 && target_checks == 0)
    target_fail(__FILE__, __LINE__, "nothing was checked after the checkpoint");
  if (target_failures != 0) {
    target_result("FAIL\n");
    return 1;
  }
  char text[64];
  snprintf(text, sizeof text, "PASS %d checks\n", target_checks);
  target_result(text);
  return 0;
}

#endif
