// SPDX-License-Identifier: Apache-2.0
#include "engine/mapped_locks.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace crs {

std::optional<LockLine> parse_lock(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string number, manner;
  LockLine line;
  if (!(words >> number >> line.sort) || line.sort == "->") return std::nullopt;
  if (!(words >> manner >> line.access >> line.owner >> line.where >> line.first >> line.last))
    return std::nullopt;
  return line;
}

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
    const auto line = parse_lock(text);
    if (!line || line->sort != "FLOCK" || line->owner != std::to_string(target.pid().v)) continue;
    found[line->where] = line->access == "WRITE";
    ++count[line->where];
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
