// SPDX-License-Identifier: Apache-2.0
// Keyrings: keys that the kernel keeps for a thread, a process or a session, and that a restart cannot give.
//
// What this file knows
//   Keyrings of threads and processes end with them, and that of the session is the one in which crs restart
//   is started. What is in a key is often a secret that only the kernel may know, so none is saved: a note
//   names each keyring that holds keys. That of the session is left out where crs has the same, or where all
//   that it holds is in that of crs as well. The keyring of the user, to which most of them link, stays as
//   long as the user does, but there is another for him in each user namespace. A thread without a session
//   keyring uses the user's default; to ask makes that its own (keyctl(2)), which changes nothing of what it
//   finds. Threads rarely have a session of their own: the leader alone is asked.
//
// Kernel interfaces: keyctl(2), keyrings(7).   Round trip: tests/targets/keyrings_*.cc
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/resource_kind.h"

namespace crs {
namespace {

using Key = std::int32_t;
constexpr std::size_t most_keys = 64;  // that are looked at; the kernel tells how many there are

// What is in a keyring, from what keyctl(2) answered: negative where there is none, or none to be looked at.
std::vector<Key> keys_in(std::int64_t answer, std::span<const std::byte> buffer) {
  std::vector<Key> keys;
  if (answer <= 0) return keys;
  keys.resize(std::min(static_cast<std::size_t>(answer), buffer.size()) / sizeof(Key));
  std::memcpy(keys.data(), buffer.data(), keys.size() * sizeof(Key));
  return keys;
}

class KeyringsKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    for (const FrozenThread& thread : target.threads()) {
      CallBatch& batch = questions.thread(thread.ns_tid);
      own_.push_back({batch.try_call(SYS_keyctl, KEYCTL_READ, KEY_SPEC_THREAD_KEYRING, nullptr, 0),
                      batch.try_call(SYS_keyctl, KEYCTL_READ, KEY_SPEC_PROCESS_KEYRING, nullptr, 0)});
    }
    CallBatch& leader = questions.leader();
    session_id_ = leader.try_call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    user_id_ = leader.try_call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0);
    user_ = leader.try_call(SYS_keyctl, KEYCTL_READ, KEY_SPEC_USER_KEYRING, nullptr, 0);
    session_keys_ = leader.out(most_keys * sizeof(Key));
    session_ = leader.try_call(SYS_keyctl, KEYCTL_READ, KEY_SPEC_SESSION_KEYRING, session_keys_,
                               most_keys * sizeof(Key));
    return ok();
  }

  Status collect(CollectContext& context) override {
    const auto threads = context.target.threads();
    bool process_noted = false;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      const CallBatch& batch = context.answers.thread(threads[i].ns_tid);
      if (batch.result(own_[i].thread) > 0)
        note(context, "the keyring of thread " + to_string(threads[i].ns_tid));
      if (process_noted || batch.result(own_[i].process) <= 0) continue;
      process_noted = true;
      note(context, "the keyring of the process");
    }
    collect_session(context);
    CRS_TRY(const ProcDir ours, ProcDir::open(Pid(getpid())));
    const auto our_users = ours.read_link("ns/user"),
               their_users = context.target.proc().read_link("ns/user");
    const bool same_user = our_users && their_users && *our_users == *their_users;
    if (!same_user && context.answers.leader().result(user_) > 0) note(context, "the keyring of the user");
    return ok();
  }

  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }

 private:
  struct Own {
    CallBatch::CallId thread, process;  // how many bytes the list of its keys has
  };

  void collect_session(CollectContext& context) const {
    const CallBatch& leader = context.answers.leader();
    const long ours = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    if (leader.result(session_id_) < 0 || leader.result(session_id_) == ours) return;
    std::array<std::byte, most_keys * sizeof(Key)> buffer{};
    const auto our_keys = keys_in(
        syscall(SYS_keyctl, KEYCTL_READ, KEY_SPEC_SESSION_KEYRING, buffer.data(), buffer.size()), buffer);
    const auto their_keys = keys_in(leader.result(session_), leader.bytes(session_keys_));
    const bool more = leader.result(session_) > static_cast<std::int64_t>(buffer.size());
    const bool all_ours = std::ranges::all_of(their_keys, [&](Key key) {
      return key == leader.result(user_id_) || std::ranges::find(our_keys, key) != our_keys.end();
    });
    if (more || !all_ours) note(context, "the session keyring");
  }

  static void note(CollectContext& context, const std::string& keyring) {
    context.blockers.note("keys in " + keyring +
                          " are not saved: the restarted program will not find them (keyrings(7))");
  }

  std::vector<Own> own_;
  CallBatch::CallId session_id_, session_, user_id_, user_;
  CallBatch::Buffer session_keys_;
};

}  // namespace

extern constinit const KindInfo kind_keyrings{
    .section = "keyrings", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<KeyringsKind>();
    }};

}  // namespace crs
