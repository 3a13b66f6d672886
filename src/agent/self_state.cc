// SPDX-License-Identifier: Apache-2.0
#include "agent/self_state.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <optional>

#include "agent/critical_sections.h"
#include "agent/forks.h"
#include "agent/hooks.h"
#include "agent/never_destroyed.h"
#include "gate/self_table.h"
#include "os/owned_fd.h"

namespace crs::agent::self {
namespace {

constexpr const char* default_prefix = "crs_self_user";

struct Callbacks {
  crs_self_callback checkpoint = nullptr, continue_ = nullptr, restart = nullptr;
  void* context = nullptr;
  bool any() const { return checkpoint != nullptr || continue_ != nullptr || restart != nullptr; }
};

struct State {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<SelfPart> regions;
  Callbacks registered;
  SelfTable command;  // the restart command and the count of restarts
  std::string prefix;
  std::map<std::string, std::string> written, restored;  // sections
  std::string published;                                 // the table, while it is
  bool owes_continue = false;                            // the checkpoint callback was well
  bool has_hook = false;
};
NeverDestroyed<State> its_state;
State& state = *its_state;
thread_local bool may_write = false;

crs_self_callback find(const std::string& prefix, const char* which) {
  return reinterpret_cast<crs_self_callback>(dlsym(RTLD_DEFAULT, (prefix + which).c_str()));
}

// With the mutex held.
Callbacks callbacks() {
  if (state.registered.any()) return state.registered;
  const std::string prefix = state.prefix.empty() ? default_prefix : state.prefix;
  return {find(prefix, "_checkpoint"), find(prefix, "_continue"), find(prefix, "_restart"), nullptr};
}

void publish_offers() {
  control_page()->offers.store(!state.regions.empty() || callbacks().checkpoint != nullptr ? 1 : 0);
}

bool concerns_us() {
  const char* const asking = control_page()->asking;
  return asking[0] == '\0' || std::strcmp(asking, self_component) == 0;
}

int get_ready() {
  Callbacks calls;
  {
    const std::scoped_lock lock(state.mutex);
    state.written.clear();
    calls = callbacks();
  }
  may_write = true;
  const int answer = calls.checkpoint != nullptr ? calls.checkpoint(calls.context) : 0;
  may_write = false;
  if (answer != 0) return answer;
  const std::scoped_lock lock(state.mutex);
  state.owes_continue = true;
  SelfTable table = state.command;
  table.prefix = state.prefix.empty() ? default_prefix : state.prefix;
  table.parts = state.regions;
  for (const auto& section : state.written) {
    table.parts.push_back({SelfPart::Kind::section, section.first,
                           reinterpret_cast<std::uint64_t>(section.second.data()), section.second.size()});
  }
  state.published = encode(table);
  control_page()->table_bytes.store(state.published.size());
  control_page()->table.store(reinterpret_cast<std::uint64_t>(state.published.data()));
  return 0;
}

void go_on() {
  Callbacks calls;
  bool owes = false;
  {
    const std::scoped_lock lock(state.mutex);
    control_page()->table.store(0);
    control_page()->table_bytes.store(0);
    state.published.clear();
    state.written.clear();
    owes = std::exchange(state.owes_continue, false);
    calls = callbacks();
    state.changed.notify_all();
  }
  if (owes && calls.continue_ != nullptr) (void)calls.continue_(calls.context);
}

int hook(crs_phase phase, void* /*unused*/) {
  if (phase == CRS_PHASE_PRE_IMAGE && concerns_us()) {
    const int answer = get_ready();
    return answer == CRS_HOOK_NOT_YET ? -1 : answer;
  }
  // Of a snapshot of another component, too: what was published in it is so no more.
  if (phase == CRS_PHASE_CONTINUE || phase == CRS_PHASE_ERROR || phase == CRS_PHASE_RESTART) go_on();
  return 0;
}

void begin_in_child() {
  new (&state.mutex) std::mutex;
  new (&state.changed) std::condition_variable;
  state.published.clear();
  state.owes_continue = false;
}

// With the mutex held.
Status ensure_hook() {
  if (!state.has_hook) {
    CRS_CHECK(add_hook("checkpoint callback of component self", INT_MAX, hook, nullptr));
    state.has_hook = true;
  }
  publish_offers();
  return ok();
}

// --- Restart

class Mapped {
 public:
  static Result<Mapped> open(int fd) {
    struct stat status {};
    if (fstat(fd, &status) != 0)
      return Error::from_errno(errno, std::string("the state that ") + self_state_variable + " names");
    const auto bytes = static_cast<std::size_t>(status.st_size);
    if ((fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE) == 0)
      return Error(Errc::bad_snapshot, std::string(self_state_variable) + " names no state");
    void* const at = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return Error::from_errno(errno, "map the state");
    return Mapped(static_cast<const char*>(at), bytes);
  }
  Mapped(Mapped&& other) noexcept : at_(std::exchange(other.at_, nullptr)), bytes_(other.bytes_) {}
  Mapped& operator=(Mapped&&) = delete;
  ~Mapped() {
    if (at_ != nullptr) munmap(const_cast<char*>(at_), bytes_);
  }
  std::string_view all() const { return {at_, bytes_}; }

 private:
  Mapped(const char* at, std::size_t bytes) : at_(at), bytes_(bytes) {}
  const char* at_;
  std::size_t bytes_;
};

const SelfPart* find_region(const std::vector<SelfPart>& parts, const std::string& name) {
  for (const auto& part : parts) {
    if (part.kind == SelfPart::Kind::region && part.name == name) return &part;
  }
  return nullptr;
}

Error differs(const std::string& what) {
  return Error(Errc::refused, what + "; nothing was loaded")
      .with_hint("the program protects the same memory, by the same names, before crs_self_restore()");
}

// That the snapshot and the program mean the same memory. With the mutex held.
Status check_parts(const SelfTable& table, std::size_t bytes) {
  for (const auto& part : table.parts) {
    if (part.where > bytes || part.bytes > bytes - part.where)
      return Error(Errc::bad_snapshot, "the state that was handed over is damaged");
    if (part.kind == SelfPart::Kind::region && find_region(state.regions, part.name) == nullptr)
      return differs("the snapshot holds region '" + part.name + "', which the program does not protect");
  }
  for (const auto& region : state.regions) {
    const SelfPart* const saved = find_region(table.parts, region.name);
    if (saved == nullptr) return differs("the snapshot holds no region '" + region.name + "'");
    if (saved->bytes != region.bytes) {
      return differs("region '" + region.name + "' has " + std::to_string(region.bytes) +
                     " bytes, and in the snapshot " + std::to_string(saved->bytes));
    }
  }
  return ok();
}

// With the mutex held.
void load(const SelfTable& table, std::string_view bytes) {
  for (const auto& part : table.parts) {
    const std::string_view saved = bytes.substr(part.where, part.bytes);
    if (part.kind == SelfPart::Kind::section) {
      state.restored[part.name] = saved;
    } else {
      void* const into = reinterpret_cast<void*>(find_region(state.regions, part.name)->where);  // NOLINT
      std::memcpy(into, saved.data(), saved.size());
    }
  }
  if (state.prefix.empty() && table.prefix != default_prefix) state.prefix = table.prefix;
  state.command.restarts = table.restarts;
  ControlPage& page = *control_page();
  page.restarts = table.restarts;
  const std::size_t length = std::min(table.snapshot.size(), sizeof page.origin - 1);
  std::memcpy(page.origin, table.snapshot.data(), length);
  page.origin[length] = '\0';
}

void copy_texts(const char* const* from, std::vector<std::string>& into) {
  into.clear();
  for (; from != nullptr && *from != nullptr; ++from) into.emplace_back(*from);
}

}  // namespace

constinit const ForkPart at_fork{[] { state.mutex.lock(); }, [] { state.mutex.unlock(); }, begin_in_child};

Status protect(const char* name, void* pointer, std::size_t bytes) {
  if (name == nullptr || pointer == nullptr || bytes == 0)
    return Error(Errc::usage, "memory to protect has a name, an address and a size");
  const std::scoped_lock lock(state.mutex);
  if (find_region(state.regions, name) != nullptr)
    return Error(Errc::usage, "there is a region '" + std::string(name) + "' already");
  state.regions.push_back({SelfPart::Kind::region, name, reinterpret_cast<std::uint64_t>(pointer), bytes});
  return ensure_hook();
}

Status unprotect(const char* name) {
  if (name == nullptr) return Error(Errc::usage, "no name was given");
  if (control_page()->session.load() != 0)
    return Error(Errc::busy, "regions stay until the quiesce session is over").with_hint("crs_quiesce_end");
  std::unique_lock lock(state.mutex);
  state.changed.wait(lock, [] { return state.published.empty(); });
  if (std::erase_if(state.regions, [name](const SelfPart& part) { return part.name == name; }) == 0)
    return Error(Errc::usage, "there is no region '" + std::string(name) + "'");
  return ensure_hook();
}

Status set_callbacks(crs_self_callback checkpoint, crs_self_callback continue_, crs_self_callback restart,
                     void* context) {
  const std::scoped_lock lock(state.mutex);
  state.registered = {checkpoint, continue_, restart, context};
  return ensure_hook();
}

Status set_prefix(const char* prefix) {
  if (prefix == nullptr || *prefix == '\0') return Error(Errc::usage, "a prefix is not empty");
  const std::scoped_lock lock(state.mutex);
  state.prefix = prefix;
  return ensure_hook();
}

Status set_restart_command(const char* const* argv, const char* cwd, const char* const* env) {
  if (argv != nullptr && (argv[0] == nullptr || std::strchr(argv[0], '/') == nullptr))
    return Error(Errc::usage, "the first word of the restart command is the path of a program");
  if (cwd != nullptr && *cwd != '/') return Error(Errc::usage, "the directory to restart in is absolute");
  const std::scoped_lock lock(state.mutex);
  state.command.has_command = argv != nullptr;
  copy_texts(argv, state.command.arguments);
  state.command.directory = cwd != nullptr ? cwd : "";
  state.command.has_environment = env != nullptr;
  copy_texts(env, state.command.environment);
  return ensure_hook();
}

Status write(const char* name, const void* bytes, std::size_t size) {
  if (!may_write) return Error(Errc::usage, "sections are written in the checkpoint callback");
  if (name == nullptr || (bytes == nullptr && size != 0)) return Error(Errc::usage, "no name or no bytes");
  const std::scoped_lock lock(state.mutex);
  state.written[name].assign(static_cast<const char*>(bytes), size);
  return ok();
}

Result<std::string_view> read(const char* name) {
  const std::scoped_lock lock(state.mutex);
  const auto found = name != nullptr ? state.restored.find(name) : state.restored.end();
  if (found != state.restored.end()) return std::string_view(found->second);
  return Error(Errc::not_found, "there is no section '" + std::string(name != nullptr ? name : "") + "'");
}

Status restore(int& restarted) {
  const char* const number = std::getenv(self_state_variable);
  if (number == nullptr) {
    restarted = 0;
    return ok();
  }
  Callbacks calls;
  {
    const std::scoped_lock lock(state.mutex);
    const int fd = std::atoi(number);
    CRS_TRY(const auto mapped, Mapped::open(fd));
    CRS_TRY(const auto table, decode_self_table(mapped.all()));
    CRS_CHECK(check_parts(table, mapped.all().size()));
    load(table, mapped.all());
    close(fd);
    unsetenv(self_state_variable);
    unsetenv(self_snapshot_variable);
    calls = callbacks();
    restarted = 1;
    CRS_CHECK(ensure_hook());
  }
  const int answer = calls.restart != nullptr ? calls.restart(calls.context) : 0;
  if (answer == 0) return ok();
  return Error(Errc::refused, "the restart callback answered " + std::to_string(answer));
}

Status arm() {
  const std::scoped_lock lock(state.mutex);
  if (state.has_hook || callbacks().checkpoint != nullptr) return ensure_hook();
  return ok();
}

void forget() {
  const std::scoped_lock lock(state.mutex);
  state.regions.clear();
  state.registered = {};
  state.command = {};
  state.prefix.clear();
  state.written.clear();
  state.restored.clear();
  state.has_hook = false;
  control_page()->offers.store(0);
}

}  // namespace crs::agent::self
