// Files: whole reads and writes of files and /proc entries, with the errno and the path in the error.
//
// What this file knows
//   read(2) and write(2) may be short or interrupted; /proc files have no size and must be read to their end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/owned_fd.h"
#include "os/result.h"

namespace crs {

using Bytes = std::vector<std::byte>;

// open(2)/openat(2) with O_CLOEXEC added. ENOENT gives Errc::not_found; the path is in the message.
Result<OwnedFd> open_file(const std::string& path, int flags, unsigned mode = 0600);
Result<OwnedFd> open_file_at(int directory, const std::string& name, int flags, unsigned mode = 0600);

// The whole content, up to `limit` bytes (more is an error: nothing we read by this is large).
Result<std::string> read_file(const std::string& path, std::size_t limit = 64u << 20);
Result<std::string> read_fd(int fd, std::string_view what, std::size_t limit = 64u << 20);

// All of it or an error; `what` names the file in the error. EPIPE and ENOSPC come back as errno.
Status write_all(int fd, std::span<const std::byte> data, std::string_view what);
Status write_all(int fd, std::string_view data, std::string_view what);
Status pwrite_all(int fd, std::span<const std::byte> data, std::uint64_t offset, std::string_view what);
// Exactly `data.size()` bytes from `offset`; an early end is Errc::bad_snapshot ("cut short").
Status pread_exact(int fd, std::span<std::byte> data, std::uint64_t offset, std::string_view what);

// Writes a small existing file (a /proc or sysctl entry).
Status write_small_file(const std::string& path, std::string_view text);

// readlink(2), whole.
Result<std::string> read_link(const std::string& path);
Result<std::string> read_link_at(int directory, const std::string& name);

// Names in a directory, without "." and "..", sorted.
Result<std::vector<std::string>> list_directory(const std::string& path);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace crs
