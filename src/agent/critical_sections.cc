// SPDX-License-Identifier: Apache-2.0
// The one control page of this process lives here, and each thread's depth: both belong to the process, and a
// signal handler must reach them.
#include "agent/critical_sections.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <mutex>
#include <new>

#include "agent/forks.h"
#include "agent/restart_variables.h"
#include "os/futex.h"
#include "os/owned_fd.h"

namespace crs::agent {
namespace {

std::atomic<ControlPage*> the_page{nullptr};
std::atomic<int> page_file{-1};
// At a fixed distance from the thread pointer, instead of by a call for each look: that is half of the time
// of a section. A library that is loaded by dlopen(3) may have a little of such room (ld.so(8),
// glibc.rtld.optional_static_tls).
#define CRS_OWN [[gnu::tls_model("initial-exec")]] thread_local
// Atomic for the handlers of the thread's own signals; no other thread looks.
CRS_OWN std::atomic<unsigned> depth{0};
CRS_OWN std::atomic<unsigned> between{0};
CRS_OWN pid_t own_id = 0;
CRS_OWN bool exempt = false;

// A file with a fresh page in it, at a high number: a program may count on the low ones. Its size is sealed,
// so that nobody takes the page away from under a checkpointer.
Result<OwnedFd> make_file() {
  constexpr int lowest = 700;
  OwnedFd low(static_cast<int>(syscall(SYS_memfd_create, control_name, MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!low || ftruncate(low.get(), control_size) != 0 ||
      fcntl(low.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return Error::from_errno(errno, "make the control page");
  const int high = fcntl(low.get(), F_DUPFD_CLOEXEC, lowest);  // EINVAL: the limit is lower
  return high >= 0 ? OwnedFd(high) : std::move(low);
}

Result<ControlPage*> map_file(int fd, void* at) {
  void* const mapped =
      mmap(at, control_size, PROT_READ | PROT_WRITE, MAP_SHARED | (at != nullptr ? MAP_FIXED : 0), fd, 0);
  if (mapped == MAP_FAILED) return Error::from_errno(errno, "map the control page");
  auto* const page = new (mapped) ControlPage;
  page->owner = getpid();
  page->variables = reinterpret_cast<std::uint64_t>(variables_room().data());
  page->variables_bytes = variables_room().size();
  if (getrandom(&page->identity, sizeof page->identity, 0) != sizeof page->identity)
    return Error::from_errno(errno, "getrandom");
  return page;
}

// Whether page_file is still the page's: a program may close all descriptors that it did not open, and get
// the number for a file of its own. Its inode is another one after a restart, what is in it is not.
bool page_file_is_open() {
  std::uint64_t identity = 0;
  const ssize_t got = pread(page_file.load(), &identity, sizeof identity, offsetof(ControlPage, identity));
  return got == sizeof identity && identity == the_page.load()->identity;
}

std::mutex joining;

// Its copy of the page is the parent's own. A handler may have forked between a thread's count and its depth,
// and returns to there.
void begin_in_child() {
  new (&joining) std::mutex;
  depth.store(0);
  own_id = 0;
  ControlPage* const old = the_page.load();
  if (old == nullptr) return;
  const std::uint64_t restarts = old->restarts;
  const std::uint64_t memory = old->memory.load();
  char origin[sizeof old->origin];
  std::memcpy(origin, old->origin, sizeof origin);
  if (page_file_is_open()) close(page_file.load());
  page_file.store(-1);
  if (auto file = make_file()) {
    if (const auto page = map_file(file->get(), old)) {
      page_file.store(file->release());
      (*page)->restarts = restarts;
      (*page)->memory.store(memory);
      std::memcpy((*page)->origin, origin, sizeof origin);
      return;
    }
  }
  // Without a page of its own it takes no part; the sections still nest.
  if (mmap(old, control_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
      MAP_FAILED)
    (new (old) ControlPage)->memory.store(memory);
}

}  // namespace

bool somebody_works() {
  const int file = control_file();
  if (file < 0) return false;  // nobody can find the page, and whoever did, can find it no more
  if (flock(file, LOCK_SH | LOCK_NB) != 0) return true;
  flock(file, LOCK_UN);
  return false;
}

namespace {

// Until that checkpointer is done, and no longer than it lives.
void wait_for(ControlPage& page, std::uint32_t round) {
  constexpr timespec interval{0, 50'000'000};
  const int error = errno;
  for (;;) {
    const std::uint64_t word = page.gate.load();
    if (round == 0 || gate_word::round(word) != round) break;
    await_round(page, word, interval);
    if (gate_word::round(page.gate.load()) == round && !somebody_works()) end_round(page, round);
  }
  errno = error;
}

unsigned of(const std::atomic<unsigned>& mine) {
  return mine.load(std::memory_order_relaxed);
}

void add(std::atomic<unsigned>& mine, unsigned what) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  mine.store(of(mine) + what, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

// While this lives the thread may be counted or not, and its depth does not tell. A signal handler that finds
// it so must not wait for a checkpointer which may wait for this very thread.
class InBetween {
 public:
  InBetween() { add(between, 1); }
  InBetween(const InBetween&) = delete;
  InBetween& operator=(const InBetween&) = delete;
  ~InBetween() { add(between, -1U); }
};

// Of the thread outside of what is being done now.
bool may_be_counted() {
  return of(depth) > 0 || of(between) > 1;
}

// Counts this thread in. Its outermost section waits where the gate is closed. Where the thread is counted
// already, or may be, a count above 0 says that the closed gate is not yet what the checkpointer waits for.
void count_in(ControlPage& page) {
  std::uint64_t word = page.gate.load();
  for (;;) {
    const bool goes_in = may_be_counted() && gate_word::sections(word) != 0;
    if (gate_word::is_closed(word) && !goes_in && !exempt) {
      wait_for(page, gate_word::round(word));
      word = page.gate.load();
    } else if (page.gate.compare_exchange_weak(word, word + 1)) {
      return;
    }
  }
}

}  // namespace

ControlPage* control_page() {
  return the_page.load();
}

int control_file() {
  return page_file_is_open() ? page_file.load() : -1;
}

constinit const ForkPart critical_sections_at_fork{[] { joining.lock(); }, [] { joining.unlock(); },
                                                   begin_in_child};

Status join() {
  CRS_CHECK(watch_forks());
  const std::scoped_lock lock(joining);
  if (the_page.load() != nullptr) return ok();
  CRS_TRY(auto file, make_file());
  CRS_TRY(ControlPage* const page, map_file(file.get(), nullptr));
  page_file.store(file.release());
  the_page.store(page);
  return ok();
}

namespace {

// `page` counts this thread already.
void note_entry(ControlPage& page, const char* label) {
  if (own_id == 0) own_id = gettid();
  page.holder.store(own_id, std::memory_order_relaxed);
  page.label.store(reinterpret_cast<std::uint64_t>(label), std::memory_order_relaxed);
  add(depth, 1);
}

}  // namespace

void enter(const char* label) {
  ControlPage& page = *the_page.load(std::memory_order_relaxed);
  const InBetween between_both;
  count_in(page);
  note_entry(page, label);
}

void never_wait() {
  exempt = true;
}

bool try_enter() {
  ControlPage& page = *the_page.load(std::memory_order_relaxed);
  const InBetween between_both;
  std::uint64_t word = page.gate.load();
  for (;;) {
    const bool goes_in = may_be_counted() && (!gate_word::is_closed(word) || gate_word::sections(word) != 0);
    if (const std::uint32_t round = gate_word::round(word); round != 0 && !goes_in) {
      if (somebody_works()) return false;
      end_round(page, round);
      word = page.gate.load();
    } else if (page.gate.compare_exchange_weak(word, word + 1)) {
      note_entry(page, nullptr);
      return true;
    }
  }
}

bool leave() {
  if (of(depth) == 0) return false;
  ControlPage& page = *the_page.load(std::memory_order_relaxed);
  {
    const InBetween between_both;
    std::uint64_t word = page.gate.load();
    while (gate_word::sections(word) != 0 && !page.gate.compare_exchange_weak(word, word - 1)) {
    }
    if (of(depth) != 0) add(depth, -1U);  // 0, as the count: a handler has forked in between
  }
  // A handler does not wait for what the thread that it interrupted may keep from coming.
  if (of(depth) == 0 && of(between) == 0 && !exempt) wait_for(page, gate_word::round(page.gate.load()));
  return true;
}

bool is_inside() {
  return of(depth) > 0;
}

bool is_anybody_inside() {
  return gate_word::sections(the_page.load()->gate.load()) != 0;
}

}  // namespace crs::agent
