// SPDX-License-Identifier: Apache-2.0
#include "engine/error_message.h"

#include <array>
#include <nlohmann/json.hpp>

namespace crs {

std::string PartReport::to_text() const {
  nlohmann::json message = {{"notes", notes}, {"pid", ns_pid}};
  if (error) {
    message["error"] = {{"code", static_cast<int>(error->code())},
                        {"errno", error->error_number()},
                        {"message", error->message()},
                        {"hint", error->hint()},
                        {"trail", error->trail()}};
    auto& blockers = message["error"]["blockers"] = nlohmann::json::array();
    for (const Blocker& each : error->blockers()) {
      blockers.push_back({each.kind, each.object, each.reason, each.remedy});
    }
  }
  return message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<PartReport> PartReport::parse(const std::string& text) {
  const auto message = nlohmann::json::parse(text, nullptr, false);
  if (!message.is_object()) return Error(Errc::bug, "a part of the restart ended without a word");
  PartReport report;
  report.notes = message.value("notes", std::vector<std::string>());
  report.ns_pid = message.value("pid", 0);
  if (const auto found = message.find("error"); found != message.end()) {
    Error error(static_cast<Errc>(found->value("code", static_cast<int>(Errc::bug))),
                found->value("message", ""));
    error.set_errno(found->value("errno", 0)).set_hint(found->value("hint", ""));
    const auto trail = found->value("trail", std::vector<std::string>());
    for (auto step = trail.rbegin(); step != trail.rend(); ++step) error.add_context(*step);
    std::vector<Blocker> blockers;
    for (const auto& each : found->value("blockers", std::vector<std::array<std::string, 4>>())) {
      blockers.push_back({each[0], each[1], each[2], each[3]});
    }
    error.set_blockers(std::move(blockers));
    report.error = std::move(error);
  }
  return report;
}

}  // namespace crs
