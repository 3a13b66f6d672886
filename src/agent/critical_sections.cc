// SPDX-License-Identifier: Apache-2.0
// The one control page of this process lives here, and each thread's depth: both belong to the process, and a
// signal handler must reach them.
#include "agent/critical_sections.h"

#include <fcntl.h>
#include <pthread.h>
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

#include "agent/restart_variables.h"
#include "os/futex.h"
#include "os/owned_fd.h"

namespace crs::agent {
namespace {

std::atomic<ControlPage*> the_page{nullptr};
std::atomic<int> page_file{-1};
thread_local unsigned depth = 0;
thread_local pid_t own_id = 0;

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

// In a forked child, which has one thread. Its copy of the page is the parent's own.
void after_fork() {
  depth = 0;
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

void wait_for_checkpoint(ControlPage& page) {
  constexpr timespec interval{0, 50'000'000};
  while (page.waiting.load() != 0) {
    sleep_while(page.waiting, 1, &interval);
    if (page.waiting.load() != 0 && !somebody_works()) {
      page.closed.store(0);
      page.waiting.store(0);
    }
  }
}

thread_local bool exempt = false;

// Counts this thread in. Its outermost section waits where the gate is closed.
void count_in(ControlPage& page) {
  page.sections.fetch_add(1);
  while (depth == 0 && !exempt && page.closed.load() != 0) {
    page.sections.fetch_sub(1);
    const int error = errno;
    wait_for_checkpoint(page);
    errno = error;
    page.sections.fetch_add(1);
  }
}

}  // namespace

ControlPage* control_page() {
  return the_page.load();
}

int control_file() {
  return page_file_is_open() ? page_file.load() : -1;
}

Status join() {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  if (the_page.load() != nullptr) return ok();
  CRS_TRY(auto file, make_file());
  CRS_TRY(ControlPage* const page, map_file(file.get(), nullptr));
  if (const int error = pthread_atfork(nullptr, nullptr, after_fork); error != 0)
    return Error::from_errno(error, "pthread_atfork");
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
  ++depth;
}

}  // namespace

void enter(const char* label) {
  ControlPage& page = *the_page.load(std::memory_order_relaxed);
  count_in(page);
  note_entry(page, label);
}

void never_wait() {
  exempt = true;
}

bool try_enter() {
  ControlPage& page = *the_page.load(std::memory_order_relaxed);
  if (depth == 0 && page.waiting.load() != 0) return false;
  page.sections.fetch_add(1);
  note_entry(page, nullptr);
  if (depth > 1 || page.waiting.load() == 0) return true;
  --depth;  // it came in between
  page.sections.fetch_sub(1);
  return false;
}

bool leave() {
  if (depth == 0) return false;
  ControlPage& page = *the_page.load(std::memory_order_relaxed);
  --depth;
  page.sections.fetch_sub(1);
  if (depth == 0 && page.waiting.load() != 0) {
    const int error = errno;
    wait_for_checkpoint(page);
    errno = error;
  }
  return true;
}

bool is_inside() {
  return depth > 0;
}

}  // namespace crs::agent
