// SPDX-License-Identifier: Apache-2.0
// Event counters (eventfd).
//
// What this file knows
//   fdinfo tells the count, the counter's number and, since Linux 6.5, whether a read takes one or all
//   (EFD_SEMAPHORE). Where the kernel does not tell, only reading would, and that would change the program:
//   such a counter is refused. A counter that another process holds as well is a channel between the two,
//   which a restored copy would cut.
// What it leaves to others
//   Who waits for it: a waiting thread makes its call again (interrupted_calls.h), an epoll watches it
//   (event_polls.cc).
//
// Kernel interfaces: eventfd(2), proc(5) fdinfo.   Round trip: tests/targets/event_counters_*.cc
#include <fcntl.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <set>

#include "engine/kinds/event_counters.pb.h"
#include "engine/other_processes.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr const char* link_text = "anon_inode:[eventfd]";
constexpr std::uint64_t highest_count =
    std::numeric_limits<std::uint64_t>::max() - 1;  // what write(2) can reach

class EventCountersKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override { return file.path == link_text; }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    const std::string object = "fd " + std::to_string(file.fds.front().v) + " (" + file.path + ")";
    const ProcFields fields = ProcFields::parse(file.fdinfo);
    const auto count = fields.number("eventfd-count", 16);
    const auto number = fields.number("eventfd-id");
    const auto semaphore = fields.number("eventfd-semaphore");
    if (!count || !number || !semaphore) {
      context.blockers.add(object, "this kernel does not tell how the event counter counts",
                           "use Linux 6.5 or newer");
      return ok();
    }
    if (*count > highest_count)
      context.blockers.add(object, "the event counter has overflowed", "let the program read it");
    if ((file.flags & O_ASYNC) != 0) {
      context.blockers.add(object, "it sends a signal when it is ready (O_ASYNC)",
                           "this cannot be restored yet");
    }
    auto& saved = *state_.add_counters();
    saved.set_id(file.id);
    saved.set_count(*count);
    saved.set_semaphore(*semaphore != 0);
    saved.set_flags(file.flags & O_NONBLOCK);
    objects_[*number] = object;
    return ok();
  }

  // After all descriptors: who else has them.
  Status collect(CollectContext& context) override {
    if (objects_.empty()) return ok();
    std::set<std::uint64_t> told;
    CRS_CHECK(see_other_descriptors(context.target, [&](const OtherDescriptor& other) {
      if (other.link != link_text) return;
      const auto process = ProcDir::open(other.pid);
      if (!process) return;
      const auto fdinfo = process->read("fdinfo/" + std::to_string(other.fd.v));
      const auto number = fdinfo ? ProcFields::parse(*fdinfo).number("eventfd-id") : std::nullopt;
      const auto found = number ? objects_.find(*number) : objects_.end();
      if (found == objects_.end() || !told.insert(*number).second) return;
      context.blockers.add(found->second, "the event counter is shared with " + other.process(),
                           "end that process, or let the program close it");
    }));
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& counter : state_.counters()) {
      if (counter.count() > highest_count ||
          (counter.flags() & ~static_cast<std::uint32_t>(O_NONBLOCK)) != 0) {
        return Error(Errc::bad_snapshot, "an event counter is described wrongly");
      }
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.counters(), [id](const auto& each) { return each.id() == id; });
    if (found == state_.counters().end()) return Error(Errc::bad_snapshot, "an event counter is missing");
    OwnedFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (found->semaphore() ? EFD_SEMAPHORE : 0)));
    if (!fd) return Error::from_errno(errno, "eventfd");
    const std::uint64_t count = found->count();
    if (count != 0) CRS_CHECK(write_all(fd.get(), std::as_bytes(std::span(&count, 1)), "an event counter"));
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(found->flags())) != 0)
      return Error::from_errno(errno, "set the flags of an event counter");
    return fd;
  }

  nlohmann::json describe() const override {
    if (state_.counters().empty()) return nullptr;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& each : state_.counters()) {
      list.push_back({{"description", each.id()}, {"count", each.count()}, {"semaphore", each.semaphore()}});
    }
    return list;
  }

 private:
  state::EventCounters state_;
  std::map<std::uint64_t, std::string> objects_;  // by the kernel's number of the counter
};

}  // namespace

extern constinit const KindInfo kind_event_counters{
    .section = "event_counters", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<EventCountersKind>();
    }};

}  // namespace crs
