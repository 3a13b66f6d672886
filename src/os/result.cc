#include "os/result.h"

#include <cerrno>
#include <cstring>

namespace crs {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::usage: return "usage";
    case Errc::not_found: return "not-found";
    case Errc::permission: return "permission";
    case Errc::refused: return "refused";
    case Errc::busy: return "busy";
    case Errc::timeout: return "timeout";
    case Errc::bad_snapshot: return "bad-snapshot";
    case Errc::storage: return "storage";
    case Errc::target_gone: return "target-gone";
    case Errc::kernel: return "kernel";
    case Errc::unsupported: return "unsupported";
    case Errc::bug: return "bug";
  }
  return "unknown";
}

int exit_code(Errc code) {
  switch (code) {
    case Errc::usage: return 2;
    case Errc::not_found:
    case Errc::target_gone: return 3;
    case Errc::permission: return 4;
    case Errc::refused:
    case Errc::unsupported: return 5;
    case Errc::busy: return 6;
    case Errc::timeout: return 7;
    case Errc::bad_snapshot: return 8;
    case Errc::storage: return 9;
    case Errc::kernel:
    case Errc::bug: return 10;
  }
  return 10;
}

Error Error::from_errno(int error_number, std::string what, Errc fallback) {
  Errc code = fallback;
  switch (error_number) {
    case EPERM:
    case EACCES: code = Errc::permission; break;
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EFBIG:
    case EIO: code = Errc::storage; break;
    default: break;
  }
  Error error(code, std::move(what) + ": " + std::strerror(error_number));
  error.errno_ = error_number;
  return error;
}

std::string Error::to_string() const {
  std::string text;
  for (const auto& step : trail_) text += step + ": ";
  return text + message_;
}

}  // namespace crs
