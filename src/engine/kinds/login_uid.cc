// SPDX-License-Identifier: Apache-2.0
// Login uid: as whom the audit system knows the process, whatever its credentials.
//
// What this file knows
//   /proc/PID/loginuid is inherited, and a process may write only its own. One that is not set may be set by
//   everyone; one that is set may be changed with CAP_AUDIT_CONTROL, or never. It gives no right to anything,
//   so what cannot be had is a note; what an ordinary user surely cannot give back is refused.
// What it leaves to others
//   The audit session, a number that the kernel gives when the login uid is set.
//
// Kernel interfaces: proc(5).   Round trip: tests/targets/login_uid_*.cc
#include <unistd.h>

#include "engine/kinds/login_uid.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::uint32_t not_set = UINT32_MAX;

// nullopt: a kernel without audit.
std::optional<std::uint32_t> parse_login_uid(const Result<std::string>& text) {
  const auto number = text ? parse_number(*text) : std::nullopt;
  if (!number || *number > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

std::string name_of(std::uint32_t uid) {
  return uid == not_set ? "not set" : std::to_string(uid);
}

class LoginUidKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    const auto uid = parse_login_uid(context.target.proc().read("loginuid"));
    if (!uid) return ok();
    state_.set_uid(*uid);
    // A restart without privilege lives in a user namespace that knows its own uid alone.
    const bool inherited = parse_login_uid(read_file("/proc/self/loginuid")) == *uid;
    if (*uid != not_set && !inherited && geteuid() != 0 && *uid != geteuid()) {
      context.blockers.add("audit login uid " + name_of(*uid),
                           "it is neither that of crs nor the user's own, and would be lost",
                           "save and restart it as root");
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override { return from_section(bytes, state_); }

  Status restore_inside(InsideContext&) override {
    const std::string entry = "/proc/self/loginuid";
    if (!state_.has_uid() || parse_login_uid(read_file(entry)) == state_.uid()) return ok();
    (void)write_small_file(entry, std::to_string(state_.uid()));  // rebuild() looks what came of it
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    const auto now = parse_login_uid(read_file("/proc/" + std::to_string(context.pid().v) + "/loginuid"));
    if (state_.has_uid() && now && *now != state_.uid()) {
      context.note("the audit login uid is " + name_of(*now) + ", not " + name_of(state_.uid()) +
                   ": changing it needs the capability CAP_AUDIT_CONTROL");
    }
    return ok();
  }

  nlohmann::json describe() const override {
    return state_.has_uid() ? nlohmann::json(name_of(state_.uid())) : nlohmann::json();
  }

 private:
  state::LoginUid state_;
};

}  // namespace

extern constinit const KindInfo kind_login_uid{
    .section = "login_uid", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<LoginUidKind>();
    }};

}  // namespace crs
