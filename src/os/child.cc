// SPDX-License-Identifier: Apache-2.0
#include "os/child.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "os/owned_fd.h"

namespace crs {

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

Result<Pid> start_child(const std::function<void(int kept_fd)>& become, const std::string& what) {
  constexpr int high_up = 200;  // where nobody asks for a descriptor by its number
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe2");
  const OwnedFd read_end(ends[0]);
  OwnedFd write_end(ends[1]);
  // EINVAL: the limit of open files is lower.
  if (const int high = fcntl(write_end.get(), F_DUPFD_CLOEXEC, high_up); high >= 0) write_end = OwnedFd(high);
  const pid_t child = fork();
  if (child < 0) return Error::from_errno(errno, "fork");
  if (child == 0) {
    become(write_end.get());
    const int number = errno;
    [[maybe_unused]] const auto written = write(write_end.get(), &number, sizeof number);
    _exit(127);
  }
  write_end.reset();

  int number = 0;
  ssize_t count = 0;
  do {
    count = read(read_end.get(), &number, sizeof number);
  } while (count < 0 && errno == EINTR);
  if (count == 0) return Pid(child);  // closed by execve(2)
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return Error::from_errno(number, what);
}

}  // namespace crs
