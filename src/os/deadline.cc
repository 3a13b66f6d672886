#include "os/deadline.h"

namespace crs {

Status Deadline::check(std::string_view what) const {
  if (!passed()) return ok();
  if (cancelled()) return Error(Errc::timeout, "interrupted while " + std::string(what));
  return Error(Errc::timeout, "the time limit passed while " + std::string(what))
      .with_hint("give a longer --timeout");
}

}  // namespace crs
