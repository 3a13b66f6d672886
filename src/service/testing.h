// SPDX-License-Identifier: Apache-2.0
// For tests of the service: a component that only says whether it can serve.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "service/component.h"

namespace crs {

// `why_not`: empty, it can; "by name", it can where it was asked for by name; else it cannot.
class Fake : public Component {
 public:
  explicit Fake(std::string why_not) : why_not_(std::move(why_not)) {}
  CapabilityReport query(const Target& target) const override {
    CapabilityReport report;
    report.can_serve = why_not_.empty() || (why_not_ == "by name" && target.by_name);
    report.reason = why_not_;
    return report;
  }
  Result<SavedProcess> checkpoint(const CheckpointRequest&, store::SnapshotWriter&, store::Manifest,
                                  Observer&) const override {
    return Error(Errc::bug, "not called");
  }
  Result<Outlook> examine(const ExamineRequest&) const override { return Error(Errc::bug, "not called"); }
  Result<RestartInfo> restart(const store::SnapshotReader&, const RestartRequest&, Observer&) const override {
    return Error(Errc::bug, "not called");
  }
  Result<nlohmann::json> inspect(const store::SnapshotReader&) const override {
    return Error(Errc::bug, "not called");
  }

 private:
  std::string why_not_;
};

}  // namespace crs
