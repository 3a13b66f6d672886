// SPDX-License-Identifier: Apache-2.0
// needs: root
// expect: refused cgroup below
#include <fstream>
#include <string>

#include "tests/target.h"

static bool write_pid(const std::string& group) {
  const int fd = open((group + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = write(fd, "0", 1) == 1;
  close(fd);
  return written;
}

TARGET() {
  std::ifstream lines("/proc/self/cgroup");
  std::string parent, group;
  for (std::string line; group.empty() && std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.starts_with("name=")) controllers.erase(0, 5);
    for (const std::string& mount :
         {"/sys/fs/cgroup/" + controllers, std::string("/sys/fs/cgroup/unified")}) {
      parent = mount + line.substr(second + 1);
      const std::string wanted = parent + "/crs-test-" + std::to_string(getpid());
      if (mkdir(wanted.c_str(), 0755) != 0) continue;
      if (write_pid(wanted)) {
        group = wanted;
        break;
      }
      rmdir(wanted.c_str());
    }
  }
  if (group.empty()) SKIP("no cgroup can be made here");

  checkpoint_here();

  EXPECT(write_pid(parent));
  EXPECT_EQ(rmdir(group.c_str()), 0);
}
