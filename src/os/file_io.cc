#include "os/file_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace crs {

Result<OwnedFd> open_file(const std::string& path, int flags, unsigned mode) {
  return open_file_at(AT_FDCWD, path, flags, mode);
}

Result<OwnedFd> open_file_at(int directory, const std::string& name, int flags, unsigned mode) {
  for (;;) {
    const int fd = ::openat(directory, name.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return OwnedFd(fd);
    if (errno == EINTR) continue;
    const int error_number = errno;
    return Error::from_errno(error_number, "open " + name,
                             error_number == ENOENT ? Errc::not_found : Errc::kernel);
  }
}

Result<std::string> read_fd(int fd, std::string_view what, std::size_t limit) {
  std::string text;
  std::size_t used = 0;
  for (;;) {
    if (text.size() - used < 4096) text.resize(std::max<std::size_t>(text.size() * 2, 16384));
    const ssize_t got = ::read(fd, text.data() + used, text.size() - used);
    if (got < 0) {
      if (errno == EINTR) continue;
      const int error_number = errno;
      return Error::from_errno(error_number, "read " + std::string(what),
                               error_number == ESRCH ? Errc::target_gone : Errc::kernel);
    }
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
    if (used > limit) return Error(Errc::bug, std::string(what) + ": larger than expected");
  }
  text.resize(used);
  return text;
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  CRS_TRY(OwnedFd fd, open_file(path, O_RDONLY));
  return read_fd(fd.get(), path, limit);
}

namespace {

// The memory of a process that has ended (/proc/PID/mem) takes nothing, for ever, and calls it no error.
Error nothing_taken(std::string_view what) {
  return Error(Errc::kernel, "write " + std::string(what) + ": nothing was taken");
}

}  // namespace

Status write_all(int fd, std::span<const std::byte> data, std::string_view what) {
  while (!data.empty()) {
    const ssize_t put = ::write(fd, data.data(), data.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return Error::from_errno(errno, "write " + std::string(what));
    }
    if (put == 0) return nothing_taken(what);
    data = data.subspan(static_cast<std::size_t>(put));
  }
  return ok();
}

Status write_all(int fd, std::string_view data, std::string_view what) {
  return write_all(fd, as_bytes(data), what);
}

Status pwrite_all(int fd, std::span<const std::byte> data, std::uint64_t offset, std::string_view what) {
  while (!data.empty()) {
    const ssize_t put = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0) {
      if (errno == EINTR) continue;
      return Error::from_errno(errno, "write " + std::string(what));
    }
    if (put == 0) return nothing_taken(what);
    data = data.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return ok();
}

Status pread_exact(int fd, std::span<std::byte> data, std::uint64_t offset, std::string_view what) {
  while (!data.empty()) {
    const ssize_t got = ::pread(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return Error::from_errno(errno, "read " + std::string(what));
    }
    if (got == 0) return Error(Errc::bad_snapshot, std::string(what) + ": the file was cut short");
    data = data.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return ok();
}

Status write_small_file(const std::string& path, std::string_view text) {
  CRS_TRY(OwnedFd fd, open_file(path, O_WRONLY));
  return write_all(fd.get(), text, path);
}

Result<std::string> read_link(const std::string& path) {
  return read_link_at(AT_FDCWD, path);
}

Result<std::string> read_link_at(int directory, const std::string& name) {
  std::string target(256, '\0');
  for (;;) {
    const ssize_t got = ::readlinkat(directory, name.c_str(), target.data(), target.size());
    if (got < 0) {
      const int error_number = errno;
      return Error::from_errno(error_number, "readlink " + name,
                               error_number == ENOENT ? Errc::not_found : Errc::kernel);
    }
    if (static_cast<std::size_t>(got) < target.size()) {
      target.resize(static_cast<std::size_t>(got));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (!directory) {
    const int error_number = errno;
    return Error::from_errno(error_number, "opendir " + path,
                             error_number == ENOENT ? Errc::not_found : Errc::kernel);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return Error::from_errno(errno, "readdir " + path);
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace crs
