// SPDX-License-Identifier: Apache-2.0
// The C interface (include/crs/crs.h) over the pieces of this folder.
//
// What this file knows
//   Each function turns its arguments into words for `crs` and the answer into what the caller asked for, and
//   leaves the details of a failure in the calling thread's error. Nothing is thrown out of here.
#include <crs/crs.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/critical_sections.h"
#include "agent/forks.h"
#include "agent/hooks.h"
#include "agent/memory_regions.h"
#include "agent/never_destroyed.h"
#include "agent/operations.h"
#include "agent/prelaunch.h"
#include "agent/restart_variables.h"
#include "agent/run_crs.h"
#include "agent/savepoints.h"
#include "agent/self_state.h"
#include "os/child.h"
#include "os/file_io.h"
#include "os/futex.h"
#include "service/states.h"

using crs::Errc;
using crs::Error;
using crs::Result;
using crs::State;
using crs::StateMachine;
using crs::Status;
namespace agent = crs::agent;

struct crs_service {
  std::vector<std::string> parameters;  // "OWNER.NAME=VALUE"
  StateMachine states;
};

struct crs_snapshot {
  std::string directory_wanted, store_wanted, job_wanted;
  std::string component, directory, metadata, job;
  std::map<std::string, std::string> variables;  // for restarts
  bool cold_start = false;
  bool for_rollback = false;  // of a save point
  std::uint64_t generation = 0, memory_bytes = 0, stored_bytes = 0, left_out_bytes = 0, stop_ns = 0;
  pid_t pid = 0;
};

struct crs_savepoint {
  crs_snapshot snapshot;
  pid_t owner = 0;  // a forked child has the handle, but not the save point
};

struct crs_operation {
  std::shared_ptr<agent::Operation> work;
  const char* phase = "";
  agent::OperationProgress shown;
};

namespace {

// --- This process

std::atomic<int> users{0};  // crs_init() without crs_finalize()
std::mutex short_lock;      // of the default service, and never held for long
crs_service* default_service() {
  static agent::NeverDestroyed<crs_service> service;
  return &*service;
}
crs_service& service_or_default(crs_service* service) {
  return service != nullptr ? *service : *default_service();
}

// --- Errors

struct ThreadError {
  std::string phase, message, hint;
  crs_error shown{CRS_SUCCESS, 0, "", "", ""};
};
constexpr crs_error no_error{CRS_SUCCESS, 0, "", "", ""};
// Of this thread; null: it had none so far. What a destructor or exit handler of the program asks for after
// it was freed with the thread makes it anew.
thread_local ThreadError* last_error = nullptr;
struct LastErrorsEnd {
  ~LastErrorsEnd() { delete std::exchange(last_error, nullptr); }
  bool there = false;
};
thread_local LastErrorsEnd last_errors_end;

int succeed() {
  if (last_error != nullptr) last_error->shown = no_error;
  return CRS_SUCCESS;
}

int code_of(Errc code) {
  return code == Errc::unsupported ? CRS_ERR_UNSUPPORTED : -crs::exit_code(code);
}

int fail(int code, int error_number, std::string phase, std::string message, std::string hint) {
  if (last_error == nullptr) {
    last_errors_end.there = true;  // its destructor runs with the thread's end from here on
    last_error = new ThreadError;
  }
  ThreadError& error = *last_error;
  error.phase = std::move(phase);
  error.message = std::move(message);
  error.hint = std::move(hint);
  error.shown = {code, error_number, error.phase.c_str(), error.message.c_str(), error.hint.c_str()};
  return code;
}

int fail(const char* phase, const Error& error) {
  return fail(code_of(error.code()), error.error_number(), phase, error.to_string(), error.hint());
}

int not_ready(const char* phase) {
  return fail(CRS_ERR_NOT_READY, 0, phase, "crs_init() was not called, or crs_finalize() was",
              "call crs_init() first");
}

bool is_ready() {
  return users.load() > 0;
}

// Runs `work`, a callable that returns a Status, between the checks that all operations share.
template <class Work>
int guarded(const char* phase, Work&& work) {
  if (!is_ready()) return not_ready(phase);
  if (agent::is_in_hook()) {
    return fail(CRS_ERR_USAGE, 0, phase, "a hook of a checkpoint cannot ask for this",
                "let the hook return, and another thread ask");
  }
  try {
    const Status status = work();
    return status ? succeed() : fail(phase, status.error());
  } catch (const std::exception& exception) {
    return fail(CRS_ERR_OTHER, ENOMEM, phase, exception.what(), "");
  }
}

// --- Words for crs

std::string seconds(std::uint64_t nanoseconds) {
  const std::string fraction = std::to_string(nanoseconds % 1'000'000'000);
  return std::to_string(nanoseconds / 1'000'000'000) + "." + std::string(9 - fraction.size(), '0') + fraction;
}

void add_parameters(const crs_service& service, std::vector<std::string>& words) {
  for (const auto& parameter : service.parameters) {
    words.emplace_back("--param");
    words.push_back(parameter);
  }
}

// crs_checkpoint_options of a caller who may have been compiled against an older header.
Result<crs_checkpoint_options> complete(const crs_checkpoint_options* given) {
  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  if (given == nullptr) return options;
  if (given->size < offsetof(crs_checkpoint_options, timeout_ns) || given->size > sizeof options) {
    return Error(Errc::usage, "the size of the checkpoint options is " + std::to_string(given->size))
        .with_hint("begin with CRS_CHECKPOINT_OPTIONS_INIT");
  }
  std::memcpy(&options, given, given->size);
  if (options.term && options.stop) return Error(Errc::usage, "term and stop exclude each other");
  if (options.inc_prep_only && options.inc_recover_only)
    return Error(Errc::usage, "inc_prep_only and inc_recover_only exclude each other");
  if ((options.inc_prep_only || options.inc_recover_only) && (options.term || options.stop))
    return Error(Errc::usage,
                 "a checkpoint in two steps takes neither term nor stop; the one between them may");
  if (options.attach_debugger && options.detach_debugger)
    return Error(Errc::usage, "attach_debugger and detach_debugger exclude each other");
  if (options.attach_debugger && (options.term || options.stop))
    return Error(Errc::usage, "a process that ends or stays stopped waits for no debugger");
  if (options.attach_debugger && (options.inc_prep_only || options.inc_recover_only))
    return Error(Errc::usage, "only a checkpoint waits for a debugger");
  return options;
}

std::vector<std::string> checkpoint_words(pid_t pid, const crs_service& service, const crs_snapshot& snapshot,
                                          const crs_checkpoint_options& options) {
  std::vector<std::string> words{"checkpoint", std::to_string(pid)};
  const auto add = [&](const char* option, const std::string& value) {
    if (value.empty()) return;
    words.emplace_back(option);
    words.push_back(value);
  };
  add("-o", snapshot.directory_wanted);
  add("--store", snapshot.store_wanted);
  add("--job", snapshot.job_wanted);
  add("--component", options.component != nullptr ? options.component : "");
  add("--compress", options.compression != nullptr ? options.compression : "");
  if (options.timeout_ns != 0) add("--timeout", seconds(options.timeout_ns));
  if (options.term) words.emplace_back("--term");
  if (options.stop) words.emplace_back("--stop");
  if (options.attach_debugger) words.emplace_back("--attach-debugger");
  if (options.detach_debugger) words.emplace_back("--detach-debugger");
  if (options.skip_dontdump) words.emplace_back("--skip-dontdump");
  if (snapshot.for_rollback) words.emplace_back("--for-rollback");
  add_parameters(service, words);
  return words;
}

Status load_snapshot(const crs_service& service, const std::string& name, crs_snapshot& snapshot) {
  std::vector<std::string> words{"inspect", name, "--json"};
  add_parameters(service, words);
  CRS_TRY(const auto answer, agent::ask_crs(std::move(words)));
  const auto& manifest = answer.at("manifest");
  snapshot.directory = answer.value("path", "");
  snapshot.metadata = snapshot.directory + "/manifest.json";
  snapshot.component = manifest.value("component", "");
  snapshot.job = manifest.value("job", "");
  snapshot.generation = manifest.value("generation", std::uint64_t{0});
  snapshot.pid = manifest.value("pid", 0);
  snapshot.memory_bytes = manifest.value("memory_bytes", std::uint64_t{0});
  snapshot.left_out_bytes = manifest.value("left_out_bytes", std::uint64_t{0});
  snapshot.stop_ns = manifest.value("stop_ns", std::uint64_t{0});
  snapshot.stored_bytes = 0;
  for (const auto& file : manifest.value("files", nlohmann::json::array()))
    snapshot.stored_bytes += file.value("bytes", std::uint64_t{0});
  return crs::ok();
}

// --- Checkpoint

Status checkpoint_other(crs_service& service, pid_t pid, crs_snapshot& snapshot,
                        const crs_checkpoint_options& options) {
  auto words = checkpoint_words(pid, service, snapshot, options);
  words.emplace_back("--json");
  CRS_TRY(const auto answer, agent::ask_crs(std::move(words)));
  CRS_CHECK(load_snapshot(service, answer.value("snapshot", ""), snapshot));
  snapshot.stop_ns = answer.value("stop_ns", std::uint64_t{0});  // with the time that --stop adds
  return crs::ok();
}

// From what the control page tells of the snapshot that was made, or that this process came from.
void take_from_page(const crs::ControlPage& page, crs_snapshot& snapshot) {
  snapshot.directory = page.directory;
  snapshot.metadata = snapshot.directory + "/manifest.json";
  snapshot.component = page.component;
  snapshot.job = page.job;
  snapshot.generation = page.generation;
  snapshot.memory_bytes = page.memory_bytes;
  snapshot.stored_bytes = page.stored_bytes;
  snapshot.left_out_bytes = page.left_out_bytes;
  snapshot.stop_ns = page.stop_ns;
  snapshot.pid = getpid();
}

// Sleeps until the page holds an answer. In a restored process it does when this goes on.
crs::Answer wait_for_answer(crs::ControlPage& page, pid_t helper) {
  constexpr timespec interval{0, 20'000'000};
  constexpr auto asked = static_cast<std::uint32_t>(crs::Answer::asked);
  bool ended = false;
  for (;;) {
    const std::uint32_t now = page.answer.load();
    if (now != asked) {
      if (now == static_cast<std::uint32_t>(crs::Answer::restarted)) return crs::Answer::restarted;
      if (!ended) (void)agent::reap(helper);
      return static_cast<crs::Answer>(now);
    }
    if (ended) return crs::Answer::none;
    crs::sleep_while(page.answer, asked, &interval);
    if (page.answer.load() == asked) ended = agent::reap_if_ended(helper).has_value();
  }
}

// Lets crs trace us, as long as it lives: by Yama's usual setting only ancestors may.
class TracedByCrs {
 public:
  TracedByCrs() {
    const auto scope = crs::read_file("/proc/sys/kernel/yama/ptrace_scope", 16);
    asks_ = scope && scope->starts_with("1");
    if (asks_) prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  }
  TracedByCrs(const TracedByCrs&) = delete;
  TracedByCrs& operator=(const TracedByCrs&) = delete;
  ~TracedByCrs() {
    if (asks_) prctl(PR_SET_PTRACER, 0);
  }

 private:
  bool asks_ = false;
};

Result<State> checkpoint_self(crs_service& service, crs_snapshot& snapshot,
                              const crs_checkpoint_options& options) {
  if (agent::is_inside()) {
    return Error(Errc::usage, "this thread is in a critical section, which no checkpoint may see")
        .with_hint("leave it first (crs_enable_checkpoint)");
  }
  crs::ControlPage& page = *agent::control_page();
  if (page.owner != getpid() || agent::control_file() < 0)
    return Error(Errc::unsupported, "this process has no control page of its own");
  auto words = checkpoint_words(getpid(), service, snapshot, options);
  for (const char* word : {"--answer", "3", "--json"}) words.emplace_back(word);
  page.answer.store(static_cast<std::uint32_t>(crs::Answer::asked));
  const auto answer = [&]() -> Result<crs::Answer> {
    const TracedByCrs traced;
    CRS_TRY(const pid_t helper, agent::start_crs({.words = std::move(words), .keep = agent::control_file()}));
    return wait_for_answer(page, helper);
  }();
  if (!answer) return answer.error();
  agent::await_hooks();
  switch (*answer) {
    case crs::Answer::restarted: take_from_page(page, snapshot); return State::restart;
    case crs::Answer::continued: take_from_page(page, snapshot); return State::continue_;
    case crs::Answer::failed: {
      Error error(static_cast<Errc>(page.code), page.message);
      error.set_hint(page.hint);
      error.set_errno(page.error_number);
      return error;
    }
    default: return Error(Errc::kernel, "crs ended before it answered");
  }
}

void enter_all(StateMachine& states, std::initializer_list<State> path) {
  for (const State state : path) (void)states.enter(state);
}

std::atomic<std::uint32_t> prepared_session{0};  // that inc_prep_only began; 0: none

// The first and the last step of a checkpoint by themselves (inc_prep_only, inc_recover_only).
Result<State> step(crs_service& service, pid_t pid, const crs_checkpoint_options& options) {
  if (pid != 0 && pid != getpid()) {
    return Error(Errc::unsupported, "only a process itself gets ready without being saved")
        .with_hint("have that process call crs_quiesce_begin()");
  }
  if (options.inc_prep_only) {
    CRS_TRY(const std::uint32_t token, agent::begin_session(options.timeout_ns));
    prepared_session.store(token);
    enter_all(service.states, {State::checkpoint, State::running});
    return State::running;
  }
  const std::uint32_t token = prepared_session.exchange(0);
  if (token == 0) return Error(Errc::usage, "inc_recover_only without an inc_prep_only before it");
  CRS_CHECK(agent::end_session(token));
  return State::running;
}

Result<State> checkpoint(crs_service& service, pid_t pid, crs_snapshot& snapshot,
                         const crs_checkpoint_options& options) {
  if (options.inc_prep_only || options.inc_recover_only) return step(service, pid, options);
  (void)service.states.enter(State::checkpoint);
  Result<State> state = State::continue_;
  if (pid == 0 || pid == getpid()) {
    state = checkpoint_self(service, snapshot, options);
  } else if (auto saved = checkpoint_other(service, pid, snapshot, options); !saved) {
    state = std::move(saved).error();
  } else if (options.term) {
    state = State::term;
  }
  if (!state) {
    service.states.fail();
    (void)service.states.enter(State::running);
  } else if (*state == State::restart) {
    enter_all(service.states, {State::restart_pre, State::restart, State::running});
  } else if (*state == State::term) {
    enter_all(service.states, {State::term, State::none});
  } else {
    enter_all(service.states, {State::continue_, State::running});
  }
  return state;
}

// Its time limit counts from here on; what is left of it is for the checkpoint.
Result<std::unique_ptr<agent::QueueTurn>> wait_for_turn(crs_checkpoint_options& options) {
  if (options.timeout_ns == 0) return agent::QueueTurn::wait(crs::Deadline::never());
  const auto deadline = crs::Deadline::after(std::chrono::nanoseconds(options.timeout_ns));
  CRS_TRY(auto turn, agent::QueueTurn::wait(deadline));
  options.timeout_ns = std::max<std::uint64_t>(static_cast<std::uint64_t>(deadline.left()->count()), 1);
  return turn;
}

// --- Restart

std::vector<std::string> restart_words(const crs_service& service, const crs_snapshot& snapshot) {
  std::vector<std::string> words{"restart", snapshot.directory};
  for (const auto& [name, value] : snapshot.variables)
    words.insert(words.end(), {"--env", name + "=" + value});
  add_parameters(service, words);
  return words;
}

Status restart_as_child(crs_service& service, const crs_snapshot& snapshot, pid_t& child) {
  auto words = restart_words(service, snapshot);
  words.insert(words.end(), {"--detach", "--json"});
  // What crs leaves behind when it ends becomes our child.
  int was_reaper = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &was_reaper);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const auto answer = agent::ask_crs_with_our_streams(std::move(words));
  prctl(PR_SET_CHILD_SUBREAPER, was_reaper);
  if (!answer) return answer.error();
  child = answer->value("child", 0);
  return crs::ok();
}

// In place: same pid, same parent. Returns only an error.
Error roll_back(const crs_service& service, const crs_snapshot& snapshot) {
  if (!snapshot.variables.empty())
    return Error(Errc::usage,
                 "variables are handed over by a restart, and this process goes back where it is");
  if (agent::is_inside()) {
    return Error(Errc::usage, "this thread is in a critical section, which is waited for")
        .with_hint("leave it first (crs_enable_checkpoint)");
  }
  std::vector<std::string> words{"rollback", std::to_string(getpid()), snapshot.directory, "--json"};
  add_parameters(service, words);
  {
    const TracedByCrs traced;
    if (const auto answer = agent::ask_crs_as_orphan(std::move(words)); !answer) return answer.error();
  }
  return Error(Errc::bug, "crs rolled this process back, and it is still what it was");
}

// Whether the process cannot go back where it is, and another one might stand for it.
bool needs_stand_in(const Error& error) {
  return error.code() == Errc::refused || error.code() == Errc::permission;
}

// Everything that can be checked is, before this process is given up.
Status restart_in_place(crs_service& service, const crs_snapshot& snapshot) {
  if (snapshot.pid == getpid() && snapshot.variables.empty() && !agent::is_inside()) {
    Error error = roll_back(service, snapshot);
    if (!needs_stand_in(error)) return error;
  }
  CRS_TRY(const std::string program, agent::find_crs());
  std::vector<std::string> check{"verify", snapshot.directory, "--json"};
  CRS_CHECK(agent::ask_crs(std::move(check)));
  auto words = restart_words(service, snapshot);
  words.insert(words.begin(), "crs");
  execve(program.c_str(), crs::pointers_to(words).data(), environ);
  return Error::from_errno(errno, "run " + program);
}

Status check_filled(const crs_snapshot* snapshot) {
  if (snapshot != nullptr && !snapshot->directory.empty()) return crs::ok();
  return Error(Errc::usage, "the snapshot is empty")
      .with_hint("fill it by a checkpoint, or get one by crs_snapshot_open");
}

Status check_own(const crs_savepoint* savepoint) {
  if (savepoint != nullptr && savepoint->owner == getpid()) return crs::ok();
  return Error(Errc::usage, savepoint == nullptr
                                ? "no save point was given"
                                : "the save point is one of the process that forked this one");
}

// Handles belong to the process that started the operation: a forked child has copies without one.
int check_operation(const crs_operation* operation) {
  if (operation == nullptr) return fail(CRS_ERR_USAGE, 0, "operation", "no operation was given", "");
  if (operation->work->is_of_this_process()) return CRS_SUCCESS;
  return fail(CRS_ERR_USAGE, 0, operation->phase, "the operation is one of the process that forked this one",
              "");
}

Status start_operation(const char* phase, agent::OperationWork work, std::uint64_t limit,
                       crs_operation** operation) {
  auto made = std::make_unique<crs_operation>();
  made->phase = phase;
  CRS_TRY(made->work, agent::Operation::start(std::move(work), limit));
  *operation = made.release();
  return crs::ok();
}

const crs_snapshot& or_empty(const crs_snapshot* snapshot) {
  static agent::NeverDestroyed<crs_snapshot> empty;
  return snapshot != nullptr ? *snapshot : *empty;
}

int text_of(const char* given, std::string& into, const char* phase) {
  try {
    into = given != nullptr ? given : "";
    return succeed();
  } catch (const std::exception& exception) {
    return fail(CRS_ERR_OTHER, ENOMEM, phase, exception.what(), "");
  }
}

// Another thread of the parent may have been in the middle of a checkpoint; the child is in none.
void begin_in_child() {
  agent::forget_queue_after_fork();
  new (&short_lock) std::mutex;
  prepared_session.store(0);
  StateMachine& states = *new (&default_service()->states) StateMachine;
  if (users.load() > 0) (void)states.enter(State::running);
}

}  // namespace

constinit const agent::ForkPart agent::library_at_fork{[] { short_lock.lock(); }, [] { short_lock.unlock(); },
                                                       begin_in_child};

extern "C" {

const char* crs_result_text(int result) {
  switch (result) {
    case CRS_SUCCESS: return "CRS_SUCCESS";
    case CRS_ERR_USAGE: return "CRS_ERR_USAGE";
    case CRS_ERR_NOT_FOUND: return "CRS_ERR_NOT_FOUND";
    case CRS_ERR_PERMISSION: return "CRS_ERR_PERMISSION";
    case CRS_ERR_REFUSED: return "CRS_ERR_REFUSED";
    case CRS_ERR_BUSY: return "CRS_ERR_BUSY";
    case CRS_ERR_TIMEOUT: return "CRS_ERR_TIMEOUT";
    case CRS_ERR_BAD_SNAPSHOT: return "CRS_ERR_BAD_SNAPSHOT";
    case CRS_ERR_STORAGE: return "CRS_ERR_STORAGE";
    case CRS_ERR_OTHER: return "CRS_ERR_OTHER";
    case CRS_ERR_NOT_READY: return "CRS_ERR_NOT_READY";
    case CRS_ERR_UNSUPPORTED: return "CRS_ERR_UNSUPPORTED";
    case CRS_ERR_CANCELLED: return "CRS_ERR_CANCELLED";
    default: return "UNKNOWN";
  }
}

const char* crs_state_text(int state) {
  const bool known = state >= 0 && state <= CRS_STATE_MAX;
  return known ? crs::to_string(static_cast<State>(state)).data() : "UNKNOWN";
}

const crs_error* crs_last_error(void) {
  return last_error != nullptr ? &last_error->shown : &no_error;
}

int crs_init(void) {
  try {
    if (auto watched = agent::watch_forks(); !watched) return fail("init", watched.error());
    if (auto joined = agent::join(); !joined) return fail("init", joined.error());
    if (auto armed = agent::arm(); !armed) return fail("init", armed.error());
    if (auto armed = agent::self::arm(); !armed) return fail("init", armed.error());
    if (auto armed = agent::memory::arm(); !armed) return fail("init", armed.error());
    if (users.fetch_add(1) == 0) (void)default_service()->states.enter(State::running);
    return succeed();
  } catch (const std::exception& exception) {
    return fail(CRS_ERR_OTHER, ENOMEM, "init", exception.what(), "");
  }
}

int crs_finalize(void) {
  int now = users.load();
  do {
    if (now <= 0) return not_ready("finalize");
    if (now == 1 && agent::is_anybody_inside()) {
      return fail(CRS_ERR_BUSY, 0, "finalize", "a thread is in a critical section",
                  "leave all of them first (crs_enable_checkpoint)");
    }
    if (now == 1 && agent::operations_going_on() != 0) {
      return fail(CRS_ERR_BUSY, 0, "finalize", "an operation is going on",
                  "wait for it first (crs_operation_wait), or cancel it");
    }
    if (now == 1) {
      if (const auto removed = agent::remove_all_hooks(); !removed) return fail("finalize", removed.error());
      agent::self::forget();
      agent::memory::forget_all();
    }
  } while (!users.compare_exchange_weak(now, now - 1));
  return succeed();
}

// --- Snapshots

int crs_snapshot_create(crs_snapshot** snapshot) {
  return guarded("create a snapshot", [&]() -> Status {
    if (snapshot == nullptr) return Error(Errc::usage, "nowhere to put the handle");
    *snapshot = new crs_snapshot;
    return crs::ok();
  });
}

int crs_snapshot_set_directory(crs_snapshot* snapshot, const char* directory) {
  if (snapshot == nullptr) return fail(CRS_ERR_USAGE, 0, "snapshot", "no snapshot was given", "");
  return text_of(directory, snapshot->directory_wanted, "snapshot");
}

int crs_snapshot_set_job(crs_snapshot* snapshot, const char* store, const char* job) {
  if (snapshot == nullptr) return fail(CRS_ERR_USAGE, 0, "snapshot", "no snapshot was given", "");
  const int first = text_of(store, snapshot->store_wanted, "snapshot");
  return first != CRS_SUCCESS ? first : text_of(job, snapshot->job_wanted, "snapshot");
}

int crs_snapshot_set_variable(crs_snapshot* snapshot, const char* name, const char* value) {
  return guarded("set a variable", [&]() -> Status {
    if (snapshot == nullptr || name == nullptr) return Error(Errc::usage, "no snapshot or no name");
    if (*name == '\0' || std::strchr(name, '=') != nullptr)
      return Error(Errc::usage, "'" + std::string(name) + "' is no name of a variable");
    if (value == nullptr) {
      snapshot->variables.erase(name);
    } else {
      snapshot->variables[name] = value;
    }
    return crs::ok();
  });
}

int crs_snapshot_open(const char* name, crs_snapshot** snapshot) {
  return guarded("open a snapshot", [&]() -> Status {
    if (name == nullptr || snapshot == nullptr)
      return Error(Errc::usage, "no name, or nowhere to put the handle");
    auto opened = std::make_unique<crs_snapshot>();
    CRS_CHECK(load_snapshot(*default_service(), name, *opened));
    opened->cold_start = true;
    *snapshot = opened.release();
    return crs::ok();
  });
}

void crs_snapshot_free(crs_snapshot* snapshot) {
  delete snapshot;
}

const char* crs_snapshot_component_name(const crs_snapshot* snapshot) {
  return or_empty(snapshot).component.c_str();
}
const char* crs_snapshot_directory(const crs_snapshot* snapshot) {
  return or_empty(snapshot).directory.c_str();
}
const char* crs_snapshot_metadata_filename(const crs_snapshot* snapshot) {
  return or_empty(snapshot).metadata.c_str();
}
bool crs_snapshot_cold_start(const crs_snapshot* snapshot) {
  return or_empty(snapshot).cold_start;
}
const char* crs_snapshot_job(const crs_snapshot* snapshot) {
  return or_empty(snapshot).job.c_str();
}
uint64_t crs_snapshot_generation(const crs_snapshot* snapshot) {
  return or_empty(snapshot).generation;
}
pid_t crs_snapshot_pid(const crs_snapshot* snapshot) {
  return or_empty(snapshot).pid;
}
uint64_t crs_snapshot_memory_bytes(const crs_snapshot* snapshot) {
  return or_empty(snapshot).memory_bytes;
}
uint64_t crs_snapshot_stored_bytes(const crs_snapshot* snapshot) {
  return or_empty(snapshot).stored_bytes;
}
uint64_t crs_snapshot_left_out_bytes(const crs_snapshot* snapshot) {
  return or_empty(snapshot).left_out_bytes;
}
uint64_t crs_snapshot_stop_ns(const crs_snapshot* snapshot) {
  return or_empty(snapshot).stop_ns;
}

// --- Services

int crs_service_create(crs_service** service) {
  return guarded("create a service", [&]() -> Status {
    if (service == nullptr) return Error(Errc::usage, "nowhere to put the handle");
    *service = new crs_service;
    (void)(*service)->states.enter(State::running);
    return crs::ok();
  });
}

void crs_service_destroy(crs_service* service) {
  delete service;
}

int crs_service_set_parameter(crs_service* service, const char* name, const char* value) {
  return guarded("set a parameter", [&]() -> Status {
    if (name == nullptr || value == nullptr) return Error(Errc::usage, "no name or no value");
    const agent::QueueTurn turn;
    const std::scoped_lock lock(short_lock);
    service_or_default(service).parameters.push_back(std::string(name) + "=" + value);
    return crs::ok();
  });
}

int crs_service_checkpoint(crs_service* service, pid_t pid, crs_snapshot* snapshot,
                           const crs_checkpoint_options* options, crs_state* state) {
  if (state != nullptr) *state = CRS_ERROR;
  return guarded("checkpoint", [&]() -> Status {
    if (snapshot == nullptr)
      return Error(Errc::usage, "no snapshot was given").with_hint("crs_snapshot_create");
    if (pid < 0) return Error(Errc::usage, "a pid is not negative");
    CRS_TRY(auto complete_options, complete(options));
    CRS_TRY(const auto turn, wait_for_turn(complete_options));
    CRS_TRY(const State now, checkpoint(service_or_default(service), pid, *snapshot, complete_options));
    if (state != nullptr) *state = static_cast<crs_state>(now);
    return crs::ok();
  });
}

int crs_service_restart(crs_service* service, crs_snapshot* snapshot, bool spawn_child, pid_t* child_pid) {
  return guarded("restart", [&]() -> Status {
    CRS_CHECK(check_filled(snapshot));
    const agent::QueueTurn turn;
    crs_service& its = service_or_default(service);
    if (!spawn_child) return restart_in_place(its, *snapshot);
    if (child_pid == nullptr) return Error(Errc::usage, "nowhere to put the child's pid");
    return restart_as_child(its, *snapshot, *child_pid);
  });
}

crs_state crs_service_state(crs_service* service, crs_state* history, size_t* count) {
  const StateMachine& states = service_or_default(service).states;
  if (history != nullptr && count != nullptr) {
    const auto all = states.history();
    const std::size_t number = std::min(*count, all.size());
    for (std::size_t i = 0; i < number; ++i)
      history[i] = static_cast<crs_state>(all[all.size() - number + i].to);
    *count = number;
  }
  return static_cast<crs_state>(states.state());
}

int crs_service_list_components(crs_service* service, pid_t pid,
                                void (*each)(const crs_component_info*, void*), void* context) {
  return guarded("list the components", [&]() -> Status {
    if (each == nullptr) return Error(Errc::usage, "no function was given");
    std::vector<std::string> words{"components", "--json"};
    if (pid != 0) words.push_back(std::to_string(pid));
    add_parameters(service_or_default(service), words);
    CRS_TRY(const auto answer, agent::ask_crs(std::move(words)));
    for (const auto& found : answer) {
      const std::string name = found.value("name", ""), version = found.value("version", ""),
                        summary = found.value("summary", ""), verdict = found.value("verdict", "");
      const crs_component_info info{name.c_str(),
                                    version.c_str(),
                                    summary.c_str(),
                                    found.value("priority", 0),
                                    found.value("can_serve", false),
                                    found.value("chosen", false),
                                    verdict.c_str()};
      each(&info, context);
    }
    return crs::ok();
  });
}

int crs_service_list_parameters(crs_service* service, void (*each)(const crs_parameter_info*, void*),
                                void* context) {
  return guarded("list the parameters", [&]() -> Status {
    if (each == nullptr) return Error(Errc::usage, "no function was given");
    std::vector<std::string> words{"params", "--json"};
    add_parameters(service_or_default(service), words);
    CRS_TRY(const auto answer, agent::ask_crs(std::move(words)));
    for (const auto& found : answer) {
      const std::string name = found.value("name", ""), value = found.value("value", ""),
                        standard = found.value("default", ""), type = found.value("type", ""),
                        help = found.value("help", ""), source = found.value("source", ""),
                        origin = found.value("origin", "");
      const crs_parameter_info info{name.c_str(),     value.c_str(),
                                    standard.c_str(), type.c_str(),
                                    help.c_str(),     origin.empty() ? source.c_str() : origin.c_str()};
      each(&info, context);
    }
    return crs::ok();
  });
}

int crs_service_rollback(crs_service* service, crs_snapshot* snapshot) {
  return guarded("rollback", [&]() -> Status {
    CRS_CHECK(check_filled(snapshot));
    const agent::QueueTurn turn;
    return roll_back(service_or_default(service), *snapshot);
  });
}

int crs_rollback(crs_snapshot* snapshot) {
  return crs_service_rollback(nullptr, snapshot);
}

// --- Operations

int crs_checkpoint_start(crs_service* service, pid_t pid, crs_snapshot* snapshot,
                         const crs_checkpoint_options* options, crs_operation** operation) {
  return guarded("start a checkpoint", [&]() -> Status {
    if (operation == nullptr) return Error(Errc::usage, "nowhere to put the operation");
    if (snapshot == nullptr)
      return Error(Errc::usage, "no snapshot was given").with_hint("crs_snapshot_create");
    if (pid < 0) return Error(Errc::usage, "a pid is not negative");
    CRS_TRY(auto wanted, complete(options));
    if (wanted.inc_prep_only || wanted.inc_recover_only)
      return Error(Errc::usage, "the steps of a session are not made in the background")
          .with_hint("crs_quiesce_begin, crs_quiesce_end");
    const auto text = [](const char* given) {
      return given != nullptr ? std::optional<std::string>(given) : std::nullopt;
    };
    auto work = [service, pid, snapshot, wanted, component = text(wanted.component),
                 compression =
                     text(wanted.compression)](std::uint64_t left) -> Result<agent::OperationResult> {
      crs_checkpoint_options now = wanted;
      now.component = component ? component->c_str() : nullptr;
      now.compression = compression ? compression->c_str() : nullptr;
      now.timeout_ns = left;
      CRS_TRY(const State state, checkpoint(service_or_default(service), pid, *snapshot, now));
      return agent::OperationResult{.state = state};
    };
    return start_operation("checkpoint", std::move(work), wanted.timeout_ns, operation);
  });
}

int crs_restart_start(crs_service* service, crs_snapshot* snapshot, crs_operation** operation) {
  return guarded("start a restart", [&]() -> Status {
    if (operation == nullptr) return Error(Errc::usage, "nowhere to put the operation");
    CRS_CHECK(check_filled(snapshot));
    auto work = [service, snapshot](std::uint64_t) -> Result<agent::OperationResult> {
      agent::OperationResult result{.state = State::running};
      CRS_CHECK(restart_as_child(service_or_default(service), *snapshot, result.child));
      return result;
    };
    return start_operation("restart", std::move(work), 0, operation);
  });
}

int crs_operation_wait(crs_operation* operation, uint64_t timeout_ns, crs_state* state, pid_t* child_pid) {
  if (state != nullptr) *state = CRS_ERROR;
  if (const int wrong = check_operation(operation); wrong != CRS_SUCCESS) return wrong;
  const auto deadline =
      timeout_ns == UINT64_MAX
          ? crs::Deadline::never()
          : crs::Deadline::after(std::chrono::nanoseconds(std::min<uint64_t>(timeout_ns, INT64_MAX / 4)));
  const auto result = operation->work->wait(deadline);
  if (!result) {
    if (state != nullptr) *state = CRS_CHECKPOINT;
    return fail(CRS_ERR_BUSY, 0, operation->phase, "it is still going on", "wait longer, or cancel it");
  }
  if (operation->work->was_cancelled())
    return fail(CRS_ERR_CANCELLED, 0, operation->phase, "it was cancelled", "");
  if (!*result) return fail(operation->phase, result->error());
  if (state != nullptr) *state = static_cast<crs_state>((*result)->state);
  if (child_pid != nullptr && (*result)->child != 0) *child_pid = (*result)->child;
  return succeed();
}

int crs_operation_progress(crs_operation* operation, crs_progress* progress) {
  if (const int wrong = check_operation(operation); wrong != CRS_SUCCESS) return wrong;
  if (progress == nullptr || progress->size != sizeof *progress)
    return fail(CRS_ERR_USAGE, 0, operation->phase, "the size of the progress is wrong",
                "set size to sizeof(crs_progress)");
  operation->shown = operation->work->progress();
  const auto& shown = operation->shown;
  progress->phase = shown.phase.c_str();
  progress->done_bytes = shown.done_bytes;
  progress->total_bytes = shown.total_bytes;
  progress->delayed = shown.delayed.c_str();
  progress->delayed_since_ns = static_cast<uint64_t>(shown.delayed_since.count());
  return succeed();
}

int crs_operation_fd(const crs_operation* operation) {
  return operation != nullptr ? operation->work->ended_fd() : -1;
}

int crs_operation_cancel(crs_operation* operation) {
  if (const int wrong = check_operation(operation); wrong != CRS_SUCCESS) return wrong;
  operation->work->cancel();
  return succeed();
}

void crs_operation_free(crs_operation* operation) {
  if (operation == nullptr) return;
  if (operation->work->is_of_this_process()) {
    operation->work->cancel();
    (void)operation->work->wait(crs::Deadline::never());
  }
  delete operation;
}

// --- Save points

int crs_savepoint_create(crs_savepoint** savepoint, crs_state* state) {
  if (state != nullptr) *state = CRS_ERROR;
  return guarded("create a save point", [&]() -> Status {
    if (savepoint == nullptr) return Error(Errc::usage, "nowhere to put the handle");
    const agent::QueueTurn turn;
    auto made = std::make_unique<crs_savepoint>();
    made->owner = getpid();
    CRS_TRY(made->snapshot.directory_wanted, agent::next_savepoint());
    made->snapshot.for_rollback = true;
    crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
    options.compression = "none";
    CRS_TRY(const State now, checkpoint(*default_service(), 0, made->snapshot, options));
    if (now == State::restart) agent::forget_younger_savepoints(made->snapshot.directory);
    *savepoint = made.release();
    if (state != nullptr) *state = static_cast<crs_state>(now);
    return crs::ok();
  });
}

int crs_savepoint_rollback(crs_savepoint* savepoint) {
  return guarded("roll back to a save point", [&]() -> Status {
    CRS_CHECK(check_own(savepoint));
    const agent::QueueTurn turn;
    return roll_back(*default_service(), savepoint->snapshot);
  });
}

int crs_savepoint_release(crs_savepoint* savepoint) {
  const std::unique_ptr<crs_savepoint> owned(savepoint);
  if (savepoint == nullptr || savepoint->owner != getpid()) return succeed();
  try {
    const Status removed = agent::remove_savepoint(savepoint->snapshot.directory);
    return removed ? succeed() : fail("release a save point", removed.error());
  } catch (const std::exception& exception) {
    return fail(CRS_ERR_OTHER, ENOMEM, "release a save point", exception.what(), "");
  }
}

// --- Hooks

int crs_hook_register(const char* name, int order, crs_hook_function function, void* context, uint64_t* id) {
  return guarded("register a hook", [&]() -> Status {
    if (id == nullptr) return Error(Errc::usage, "nowhere to put the hook's id");
    CRS_TRY(*id, agent::add_hook(name, order, function, context));
    return crs::ok();
  });
}

int crs_hook_unregister(uint64_t id) {
  return guarded("unregister a hook", [&] { return agent::remove_hook(id); });
}

int crs_hook_retry(void) {
  if (!is_ready()) return CRS_ERR_NOT_READY;
  agent::hooks_are_ready();
  return CRS_SUCCESS;
}

int crs_quiesce_begin(uint64_t lifetime_ns, uint32_t* token) {
  return guarded("begin a quiesce session", [&]() -> Status {
    if (token == nullptr) return Error(Errc::usage, "nowhere to put the token");
    CRS_TRY(*token, agent::begin_session(lifetime_ns));
    return crs::ok();
  });
}

int crs_quiesce_end(uint32_t token) {
  return guarded("end a quiesce session", [&] { return agent::end_session(token); });
}

// --- State of one's own

int crs_self_protect(const char* name, void* pointer, size_t bytes) {
  return guarded("protect memory", [&] { return agent::self::protect(name, pointer, bytes); });
}

int crs_self_unprotect(const char* name) {
  return guarded("unprotect memory", [&] { return agent::self::unprotect(name); });
}

int crs_self_set_callbacks(crs_self_callback checkpoint, crs_self_callback continue_,
                           crs_self_callback restart, void* context) {
  return guarded("set callbacks",
                 [&] { return agent::self::set_callbacks(checkpoint, continue_, restart, context); });
}

int crs_self_set_prefix(const char* prefix) {
  return guarded("set the prefix of callbacks", [&] { return agent::self::set_prefix(prefix); });
}

int crs_self_set_restart_command(const char* const* argv, const char* cwd, const char* const* env) {
  return guarded("set the restart command", [&] { return agent::self::set_restart_command(argv, cwd, env); });
}

// Of a callback, so guarded() would refuse it.
int crs_self_write(const char* name, const void* bytes, size_t size) {
  if (!is_ready()) return not_ready("write a section");
  try {
    const Status status = agent::self::write(name, bytes, size);
    return status ? succeed() : fail("write a section", status.error());
  } catch (const std::exception& exception) {
    return fail(CRS_ERR_OTHER, ENOMEM, "write a section", exception.what(), "");
  }
}

int crs_self_read(const char* name, const void** bytes, size_t* size) {
  return guarded("read a section", [&]() -> Status {
    if (bytes == nullptr || size == nullptr) return Error(Errc::usage, "nowhere to put the bytes");
    CRS_TRY(const auto found, agent::self::read(name));
    *bytes = found.data();
    *size = found.size();
    return crs::ok();
  });
}

int crs_self_restore(int* restarted) {
  return guarded("restore the state", [&]() -> Status {
    if (restarted == nullptr) return Error(Errc::usage, "nowhere to put whether it was restarted");
    return agent::self::restore(*restarted);
  });
}

// --- Memory

int crs_memory_exclude(const char* label, void* pointer, size_t bytes, crs_memory_rebuild rebuild,
                       void* context, uint64_t* id) {
  return guarded("exclude memory", [&]() -> Status {
    CRS_TRY(const std::uint64_t made, agent::memory::exclude(label, pointer, bytes, rebuild, context));
    if (id != nullptr) *id = made;
    return crs::ok();
  });
}

int crs_memory_include(const char* label, const void* pointer, size_t bytes, uint64_t* id) {
  return guarded("include memory", [&]() -> Status {
    CRS_TRY(const std::uint64_t made, agent::memory::include(label, pointer, bytes));
    if (id != nullptr) *id = made;
    return crs::ok();
  });
}

int crs_memory_forget(uint64_t id) {
  return guarded("forget a memory region", [&] { return agent::memory::forget(id); });
}

// --- The eight operations, of the default service

int crs_checkpoint(pid_t pid, crs_snapshot* snapshot, const crs_checkpoint_options* options,
                   crs_state* state) {
  return crs_service_checkpoint(nullptr, pid, snapshot, options, state);
}

int crs_restart(crs_snapshot* snapshot, bool spawn_child, pid_t* child_pid) {
  return crs_service_restart(nullptr, snapshot, spawn_child, child_pid);
}

// Async-signal-safe, so these leave crs_last_error() alone.
int crs_disable_checkpoint_as(const char* label) {
  if (!is_ready()) return CRS_ERR_NOT_READY;
  agent::enter(label);
  return CRS_SUCCESS;
}

int crs_disable_checkpoint(void) {
  return crs_disable_checkpoint_as(nullptr);
}

int crs_try_disable_checkpoint(void) {
  if (!is_ready()) return CRS_ERR_NOT_READY;
  return agent::try_enter() ? CRS_SUCCESS : CRS_ERR_BUSY;
}

int crs_enable_checkpoint(void) {
  if (!is_ready()) return CRS_ERR_NOT_READY;
  return agent::leave() ? CRS_SUCCESS : CRS_ERR_USAGE;
}

int crs_prelaunch(int32_t rank, const char* base_snapshot_dir, char** app, char** cwd, char*** argv,
                  char*** env) {
  return guarded("prelaunch", [&] { return agent::prelaunch(rank, base_snapshot_dir, app, cwd, argv, env); });
}

int crs_reg_thread(void) {
  return is_ready() ? succeed() : not_ready("register a thread");
}

int crs_restart_info(crs_restart_information* information) {
  return guarded("restart information", [&]() -> Status {
    if (information == nullptr || information->size != sizeof *information)
      return Error(Errc::usage, "the size of the restart information is wrong");
    const crs::ControlPage& page = *agent::control_page();
    information->restarts = page.restarts;
    information->snapshot = page.origin;
    return crs::ok();
  });
}

const char* crs_restart_variable(const char* name) {
  return name != nullptr ? agent::find_variable(name) : nullptr;
}

const crs_module crs_operations = {crs_init,      crs_finalize,           crs_checkpoint,
                                   crs_restart,   crs_disable_checkpoint, crs_enable_checkpoint,
                                   crs_prelaunch, crs_reg_thread};

}  // extern "C"
