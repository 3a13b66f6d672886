// SPDX-License-Identifier: Apache-2.0
#include "engine/mapped_locks.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "os/file_io.h"

namespace crs {

std::string lock_place(const Vma& vma) {
  char place[64];
  snprintf(place, sizeof place, "%02x:%02x:%llu", vma.device_major, vma.device_minor,
           static_cast<unsigned long long>(vma.inode));
  return place;
}

Result<std::map<std::string, bool>> find_mapped_locks(const FrozenProcess& target) {
  std::map<std::string, bool> found;
  CRS_TRY(const std::string* const locks, target.file_locks());
  std::map<std::string, int> count;
  std::istringstream lines(*locks);
  for (std::string text; std::getline(lines, text);) {
    // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF"; one that waits has "->" for its second word.
    std::istringstream words(text);
    std::string number, sort, manner, access, owner, place;
    if (!(words >> number >> sort >> manner >> access >> owner >> place) || sort != "FLOCK") continue;
    if (owner != std::to_string(target.pid().v)) continue;
    found[place] = access == "WRITE";
    ++count[place];
  }
  std::erase_if(found, [&](const auto& lock) {
    const bool is_mapped = std::ranges::any_of(
        target.vmas(), [&](const Vma& vma) { return vma.shared && lock_place(vma) == lock.first; });
    return !is_mapped || count[lock.first] != 1;
  });
  if (found.empty()) return found;
  CRS_TRY(const auto fds, target.proc().fds());
  for (const RemoteFd fd : fds) {
    CRS_TRY(const std::string fdinfo, target.proc().read("fdinfo/" + std::to_string(fd.v)));
    std::erase_if(found, [&](const auto& lock) {
      return fdinfo.find("FLOCK") != std::string::npos &&
             fdinfo.find(" " + lock.first + " ") != std::string::npos;
    });
  }
  return found;
}

}  // namespace crs
