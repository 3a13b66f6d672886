// SPDX-License-Identifier: Apache-2.0
#include "agent/operations.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <list>
#include <new>
#include <utility>

#include "agent/never_destroyed.h"

namespace crs::agent {
namespace {

struct Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::list<int> waiting;  // in order; the first has its turn
};

// An operation may go on while exit(3) runs.
NeverDestroyed<Queue> the_queue;
Queue& queue() {
  return *the_queue;
}

std::atomic<int> going_on{0};
std::array<std::atomic<Operation*>, 256>
    all_operations{};  // for forked children, which cannot wait for a lock

Result<int> enqueue(const Deadline& deadline) {
  Queue& it = queue();
  std::unique_lock lock(it.mutex);
  const auto own = it.waiting.insert(it.waiting.end(), 0);
  while (own != it.waiting.begin()) {
    if (!deadline.left()) {
      it.changed.wait(lock);
    } else if (deadline.passed()) {
      it.waiting.erase(own);
      return Error(
          Errc::timeout,
          "the time limit passed while another checkpoint or restart that this process asked for was being "
          "made");
    } else {
      it.changed.wait_for(lock, *deadline.left());
    }
  }
  return 0;
}

}  // namespace

int operations_going_on() {
  return going_on.load();
}

QueueTurn::QueueTurn() {
  (void)enqueue(Deadline::never());
}

Result<std::unique_ptr<QueueTurn>> QueueTurn::wait(const Deadline& deadline) {
  CRS_TRY([[maybe_unused]] const int taken, enqueue(deadline));
  return std::unique_ptr<QueueTurn>(new QueueTurn(Taken{}));
}

QueueTurn::~QueueTurn() {
  Queue& it = queue();
  const std::scoped_lock lock(it.mutex);
  if (!it.waiting.empty()) it.waiting.pop_front();
  it.changed.notify_all();
}

void forget_queue_after_fork() {
  new (&queue()) Queue;
  going_on.store(0);
  for (auto& place : all_operations) {
    Operation* const each = place.exchange(nullptr);
    if (each == nullptr) continue;
    each->ended_fd_.reset();
    each->events_.reset();
  }
}

Result<std::shared_ptr<Operation>> Operation::start(OperationWork work, std::uint64_t limit) {
  std::shared_ptr<Operation> made(new Operation);
  made->owner_ = getpid();
  made->work_ = std::move(work);
  if (limit != 0) made->deadline_ = Deadline::after(std::chrono::nanoseconds(limit));
  made->deadline_.also_when(made->cancelled_);
  made->ended_fd_ = OwnedFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  made->events_ = OwnedFd(static_cast<int>(syscall(SYS_memfd_create, "crs-events", MFD_CLOEXEC)));
  if (!made->ended_fd_ || !made->events_) return Error::from_errno(errno, "start an operation");
  if (!made->take_place())
    return Error(Errc::busy, "256 operations of this process have not been freed")
        .with_hint("crs_operation_free");

  auto* const own = new std::shared_ptr<Operation>(made);
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_t thread{};
  going_on.fetch_add(1);
  const int error = pthread_create(
      &thread, &attributes,
      [](void* argument) -> void* {
        const std::unique_ptr<std::shared_ptr<Operation>> its(
            static_cast<std::shared_ptr<Operation>*>(argument));
        (*its)->run();
        return nullptr;
      },
      own);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    delete own;
    going_on.fetch_sub(1);
    return Error::from_errno(error, "make a thread for an operation");
  }
  return made;
}

bool Operation::take_place() {
  for (auto& place : all_operations) {
    Operation* nobody = nullptr;
    if (place.compare_exchange_strong(nobody, this)) return true;
  }
  return false;
}

Operation::~Operation() {
  for (auto& place : all_operations) {
    Operation* own = this;
    if (place.compare_exchange_strong(own, nullptr)) return;
  }
}

bool Operation::is_of_this_process() const {
  return owner_ == getpid();
}

void Operation::run() {
  set_watcher(this);
  std::optional<Result<OperationResult>> result;
  try {
    result = work_in_turn();
  } catch (const std::exception& exception) {
    result = Result<OperationResult>(Error(Errc::kernel, exception.what()));
  }
  set_watcher(nullptr);
  if (!*result && cancelled_.load()) was_cancelled_.store(true);
  look();
  const std::scoped_lock lock(mutex_);
  crs_ = 0;
  events_.reset();
  work_ = nullptr;
  result_ = std::move(result);
  progress_.phase = "ended";
  progress_.delayed.clear();
  const std::uint64_t one = 1;
  (void)!write(ended_fd_.get(), &one, sizeof one);
  going_on.fetch_sub(1);
  changed_.notify_all();
}

Result<OperationResult> Operation::work_in_turn() {
  CRS_TRY(const auto turn, QueueTurn::wait(deadline_));
  {
    const std::scoped_lock lock(mutex_);
    progress_.phase = "started";
  }
  if (cancelled_.load()) return Error(Errc::timeout, "cancelled");
  const auto left = deadline_.left();
  return work_(left ? std::max<std::uint64_t>(static_cast<std::uint64_t>(left->count()), 1) : 0);
}

std::optional<Result<OperationResult>> Operation::wait(const Deadline& deadline) {
  std::unique_lock lock(mutex_);
  while (!result_) {
    const auto left = deadline.left();
    if (!left) {
      changed_.wait(lock);
    } else if (left->count() == 0) {
      return std::nullopt;
    } else {
      changed_.wait_for(lock, *left);
    }
  }
  return result_;
}

OperationProgress Operation::progress() {
  const std::scoped_lock lock(mutex_);
  return progress_;
}

void Operation::cancel() {
  const std::scoped_lock lock(mutex_);
  cancelled_.store(true);
  // It is not reaped while we hold the mutex, so the number is its own; but in a process that was brought
  // back it is that of another life.
  siginfo_t unused{};
  if (crs_ != 0 && waitid(P_PID, static_cast<id_t>(crs_), &unused, WEXITED | WNOWAIT | WNOHANG | __WALL) == 0)
    kill(crs_, SIGTERM);
  const std::scoped_lock waiting(queue().mutex);  // whoever has just looked at the deadline is asleep by now
  queue().changed.notify_all();
}

void Operation::started(pid_t crs) {
  const std::scoped_lock lock(mutex_);
  if (std::exchange(begun_, true)) return;
  crs_ = crs;
  if (cancelled_.load()) kill(crs, SIGTERM);
}

void Operation::reaps() {
  const std::scoped_lock lock(mutex_);
  crs_ = 0;
}

void Operation::look() {
  const std::scoped_lock lock(mutex_);
  char piece[4096];
  for (;;) {
    const ssize_t got = pread(events_.get(), piece, sizeof piece, read_);
    if (got <= 0) return;
    read_ += got;
    unread_.append(piece, static_cast<std::size_t>(got));
    for (std::size_t end = 0; (end = unread_.find('\n')) != std::string::npos; unread_.erase(0, end + 1))
      note_event(unread_.substr(0, end));
  }
}

void Operation::note_event(const std::string& line) {
  const auto event = nlohmann::json::parse(line, nullptr, false);
  if (!event.is_object()) return;
  const std::string what = event.value("event", "");
  if (what == "phase") {
    progress_.phase = event.value("phase", "");
    progress_.delayed.clear();
  } else if (what == "progress") {
    progress_.done_bytes = event.value("done_bytes", std::uint64_t{0});
    progress_.total_bytes = event.value("total_bytes", std::uint64_t{0});
  } else if (what == "delayed") {
    if (progress_.delayed.empty())
      progress_.delayed_since = std::chrono::nanoseconds(event.value("time_ns", std::int64_t{0}));
    progress_.delayed = event.value("text", "");
  }
}

}  // namespace crs::agent
