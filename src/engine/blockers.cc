#include "engine/blockers.h"

namespace crs {

Status Blockers::to_status(const std::string& what) const {
  if (list_.empty()) return ok();
  std::string text = what + ":";
  for (const auto& blocker : list_) {
    text += "\n  " + blocker.object + ": " + blocker.reason;
    if (!blocker.remedy.empty()) text += "\n    " + blocker.remedy;
  }
  return std::move(Error(Errc::refused, std::move(text)).set_blockers(list_));
}

}  // namespace crs
