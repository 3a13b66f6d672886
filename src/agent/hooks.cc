// SPDX-License-Identifier: Apache-2.0
// The hooks of this process live here, as do the words between its threads and the one that calls them.
#include "agent/hooks.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "agent/critical_sections.h"
#include "agent/forks.h"
#include "agent/memory_regions.h"
#include "agent/never_destroyed.h"
#include "gate/control_page.h"
#include "os/file_io.h"
#include "os/futex.h"

namespace crs::agent {
namespace {

struct Hook {
  std::uint64_t id = 0;
  int order = 0;
  std::string name;
  crs_hook_function function = nullptr;
  void* context = nullptr;
};

// One for the process. A forked child makes it anew, but for `all` and `next_id`.
struct Hooks {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Hook> all;       // by order
  std::vector<Hook> prepared;  // a copy of those that got ready
  bool busy = false;           // from the first PREPARE to the last hook of that checkpoint
  bool has_thread = false;
  bool rebuilds = false;  // keep_thread()
  std::uint64_t next_id = 1;
};
NeverDestroyed<Hooks> its_hooks;
Hooks& hooks = *its_hooks;
thread_local bool calling = false;

std::atomic<std::uint32_t> last_session{0};
std::atomic<pid_t> session_owner{0};
std::atomic<std::int64_t> session_end{0};  // CLOCK_MONOTONIC, nanoseconds; 0: none

std::int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

std::uint32_t word(Turn turn) {
  return static_cast<std::uint32_t>(turn);
}

void give(ControlPage& page, Turn turn) {
  page.turn.store(word(turn));
  wake_all(page.turn);
}

// false: somebody else has the turn by now.
bool pass(ControlPage& page, Turn from, Turn to) {
  std::uint32_t expected = word(from);
  if (!page.turn.compare_exchange_strong(expected, word(to))) return false;
  wake_all(page.turn);
  return true;
}

void await_change(ControlPage& page, Turn from) {
  constexpr timespec interval{0, 20'000'000};
  sleep_while(page.turn, word(from), &interval);
}

int call(const Hook& hook, crs_phase phase) {
  calling = true;
  const int answer = hook.function(phase, hook.context);
  calling = false;
  return answer;
}

// In reverse order, phase by phase.
void recover(const std::vector<Hook>& which, std::initializer_list<crs_phase> phases) {
  for (const crs_phase phase : phases) {
    for (auto hook = which.rbegin(); hook != which.rend(); ++hook) call(*hook, phase);
  }
}

void set_busy(bool busy) {
  const std::scoped_lock lock(hooks.mutex);
  hooks.busy = busy;
  if (!busy) hooks.prepared.clear();
  hooks.changed.notify_all();
}

void tell_refusal(ControlPage& page, const Hook& hook, crs_phase phase, int answer) {
  page.code = static_cast<std::int32_t>(Errc::refused);
  page.error_number = 0;
  page.hint[0] = '\0';
  std::snprintf(page.message, sizeof page.message, "the program's hook '%s' answered %d to %s",
                hook.name.c_str(), answer, phase == CRS_PHASE_PREPARE ? "PREPARE" : "PRE_IMAGE");
}

// Has everybody get ready; those that did are told when somebody does not.
Turn prepare(ControlPage& page) {
  std::vector<Hook> all;
  {
    const std::scoped_lock lock(hooks.mutex);
    hooks.busy = true;
    all = hooks.all;
  }
  std::vector<Hook> ready;
  for (const crs_phase phase : {CRS_PHASE_PREPARE, CRS_PHASE_PRE_IMAGE}) {
    for (const Hook& hook : all) {
      const int answer = call(hook, phase);
      if (answer != CRS_HOOK_OK) {
        if (answer != CRS_HOOK_NOT_YET) tell_refusal(page, hook, phase, answer);
        recover(ready, {CRS_PHASE_ERROR});
        set_busy(false);
        return answer == CRS_HOOK_NOT_YET ? Turn::stalled : Turn::refused;
      }
      if (phase == CRS_PHASE_PREPARE) ready.push_back(hook);
    }
  }
  const std::scoped_lock lock(hooks.mutex);
  hooks.prepared = std::move(ready);
  return Turn::prepared;
}

// The hooks that are told of what became of the checkpoint: those that got ready, or all when it is news that
// comes late.
std::vector<Hook> those_concerned() {
  const std::scoped_lock lock(hooks.mutex);
  return hooks.prepared.empty() ? hooks.all : hooks.prepared;
}

bool session_is_over() {
  const std::int64_t end = session_end.load();
  if (end != 0 && now_ns() >= end) return true;
  return syscall(SYS_tgkill, getpid(), session_owner.load(), 0) != 0 && errno == ESRCH;
}

// Nothing is asked of us, or somebody else has the turn: sleeps, and sees to it that nobody is waited for who
// is gone.
void rest(ControlPage& page, Turn now) {
  constexpr timespec interval{0, 50'000'000};
  const bool may_be_forgotten = now == Turn::prepared || now == Turn::refused || now == Turn::stalled;
  sleep_while(page.turn, word(now), may_be_forgotten ? &interval : nullptr);
  if (!may_be_forgotten || turn_of(page) != now || somebody_works()) return;
  if (now != Turn::prepared) {
    (void)pass(page, now, Turn::idle);
  } else if (page.session.load() == 0) {
    (void)pass(page, now, Turn::failed);
  } else if (session_is_over()) {
    page.session.store(0);
    (void)pass(page, now, Turn::captured);
  }
}

Turn rebuild(ControlPage& page) {
  calling = true;
  const Turn next = memory::rebuild(page);
  calling = false;
  return next;
}

[[noreturn]] void serve() {
  never_wait();
  ControlPage& page = *control_page();
  page.rebuilder.store(gettid());
  for (;;) {
    const Turn now = turn_of(page);
    switch (now) {
      case Turn::prepare: (void)pass(page, now, prepare(page)); continue;
      case Turn::captured: recover(those_concerned(), {CRS_PHASE_POST_IMAGE, CRS_PHASE_CONTINUE}); break;
      case Turn::failed: recover(those_concerned(), {CRS_PHASE_ERROR}); break;
      case Turn::ending: recover(those_concerned(), {CRS_PHASE_TERM}); break;
      case Turn::rebuild: (void)pass(page, now, rebuild(page)); continue;
      case Turn::restarted: recover(those_concerned(), {CRS_PHASE_RESTART_PRE, CRS_PHASE_RESTART}); break;
      case Turn::idle:
      case Turn::prepared:
      case Turn::stalled:
      case Turn::refused: rest(page, now); continue;
    }
    // A failure may be told while the others still go on: then they are told of it as well.
    if (now != Turn::captured || turn_of(page) == now) set_busy(false);
    (void)pass(page, now, Turn::idle);
  }
}

void* run_thread(void* /*unused*/) {
  pthread_setname_np(pthread_self(), "crs-hooks");
  serve();
}

void begin_in_child() {
  auto all = std::move(hooks.all);
  const std::uint64_t next_id = hooks.next_id;
  new (&hooks) Hooks;
  hooks.all = std::move(all);
  hooks.next_id = next_id;
  calling = false;
}

// With the mutex held.
Status make_thread() {
  if (hooks.has_thread) return ok();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  const int error = pthread_create(&thread, nullptr, run_thread, nullptr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return Error::from_errno(error, "start the thread that calls the hooks");
  pthread_detach(thread);
  hooks.has_thread = true;
  return ok();
}

// A session waits for its end, and so would whoever takes its hooks away.
Status check_removal() {
  if (calling) return Error(Errc::usage, "a hook cannot take hooks away");
  if (control_page()->session.load() == 0) return ok();
  return Error(Errc::busy, "hooks stay until the quiesce session is over").with_hint("crs_quiesce_end");
}

void publish_count() {
  control_page()->hooks.store(static_cast<std::uint32_t>(hooks.all.size() + (hooks.rebuilds ? 1 : 0)));
}

}  // namespace

constinit const ForkPart hooks_at_fork{[] { hooks.mutex.lock(); }, [] { hooks.mutex.unlock(); },
                                       begin_in_child};

bool is_in_hook() {
  return calling;
}

Result<std::uint64_t> add_hook(const char* name, int order, crs_hook_function function, void* context) {
  if (name == nullptr || function == nullptr) return Error(Errc::usage, "a hook has a name and a function");
  const std::scoped_lock lock(hooks.mutex);
  CRS_CHECK(make_thread());
  Hook hook{hooks.next_id++, order, name, function, context};
  const std::uint64_t id = hook.id;
  const auto behind = std::ranges::upper_bound(hooks.all, order, {}, &Hook::order);
  hooks.all.insert(behind, std::move(hook));
  publish_count();
  return id;
}

Status remove_hook(std::uint64_t id) {
  CRS_CHECK(check_removal());
  std::unique_lock lock(hooks.mutex);
  hooks.changed.wait(lock, [] { return !hooks.busy; });
  if (std::erase_if(hooks.all, [id](const Hook& hook) { return hook.id == id; }) == 0)
    return Error(Errc::usage, "there is no hook " + std::to_string(id));
  publish_count();
  return ok();
}

Status remove_all_hooks() {
  CRS_CHECK(check_removal());
  std::unique_lock lock(hooks.mutex);
  hooks.changed.wait(lock, [] { return !hooks.busy; });
  hooks.all.clear();
  publish_count();
  return ok();
}

Status keep_thread(bool wanted) {
  const std::scoped_lock lock(hooks.mutex);
  if (wanted) CRS_CHECK(make_thread());
  hooks.rebuilds = wanted;
  publish_count();
  return ok();
}

Status arm() {
  const std::scoped_lock lock(hooks.mutex);
  if (hooks.all.empty()) return ok();
  CRS_CHECK(make_thread());
  publish_count();
  return ok();
}

void hooks_are_ready() {
  control_page()->ready.fetch_add(1);
}

void await_hooks() {
  ControlPage& page = *control_page();
  for (Turn now = turn_of(page); now != Turn::idle && now != Turn::prepared; now = turn_of(page))
    await_change(page, now);
}

namespace {

// The lock that checkpointers take, on a description of its own.
Result<OwnedFd> lock_out_checkpointers(bool wait) {
  CRS_TRY(OwnedFd file, open_file("/proc/self/fd/" + std::to_string(control_file()), O_RDWR));
  for (;;) {
    if (flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
    if (errno != EWOULDBLOCK) return Error::from_errno(errno, "lock the control page");
    if (!wait) return Error(Errc::busy, "a checkpoint is being made").with_hint("try again when it is done");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

Result<std::uint32_t> begin_session(std::uint64_t lifetime) {
  if (calling) return Error(Errc::usage, "a hook cannot begin a session");
  ControlPage& page = *control_page();
  {
    const std::scoped_lock lock(hooks.mutex);
    CRS_CHECK(make_thread());
  }
  CRS_TRY(const OwnedFd lock, lock_out_checkpointers(false));
  if (page.session.load() != 0) return Error(Errc::busy, "there is a quiesce session already");
  await_hooks();
  page.asking[0] = '\0';
  give(page, Turn::prepare);
  while (turn_of(page) == Turn::prepare) await_change(page, Turn::prepare);
  const Turn answer = turn_of(page);
  if (answer != Turn::prepared) {
    Error error(answer == Turn::stalled ? Errc::busy : Errc::refused,
                answer == Turn::stalled ? "a hook is not ready yet" : page.message);
    give(page, Turn::idle);
    return error;
  }
  session_owner.store(gettid());
  session_end.store(lifetime == 0 ? 0 : now_ns() + static_cast<std::int64_t>(lifetime));
  const std::uint32_t token = last_session.fetch_add(1) + 1;
  page.session.store(token);
  return token;
}

Status end_session(std::uint32_t token) {
  if (calling) return Error(Errc::usage, "a hook cannot end a session");
  ControlPage& page = *control_page();
  if (token == 0 || token > last_session.load())
    return Error(Errc::usage, "there is no such quiesce session");
  if (token == page.restarted_session) return ok();
  CRS_TRY(const OwnedFd lock, lock_out_checkpointers(true));
  if (page.session.load() != token)
    return Error(Errc::timeout, "the quiesce session had ended before, by its lifetime or by an earlier end");
  page.session.store(0);
  give(page, Turn::captured);
  await_hooks();
  return ok();
}

}  // namespace crs::agent
