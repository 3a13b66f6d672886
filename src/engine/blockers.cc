#include "engine/blockers.h"

namespace crs {

Status Blockers::to_status(const std::string& what) const {
  if (list_.empty()) return ok();
  std::string text = what + ":";
  for (const auto& blocker : list_) {
    text += "\n  " + blocker.object + ": " + blocker.reason;
    if (!blocker.remedy.empty()) text += "\n    " + blocker.remedy;
  }
  return Error(Errc::refused, std::move(text));
}

}  // namespace crs
