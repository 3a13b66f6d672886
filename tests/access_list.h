// SPDX-License-Identifier: Apache-2.0
// Access lists as fsetxattr(2) takes them (include/uapi/linux/posix_acl_xattr.h), for targets.
#pragma once

#include <cstdint>

struct AccessEntry {
  std::uint16_t tag, permissions;
  std::uint32_t id;
};
struct AccessList {
  std::uint32_t version;
  AccessEntry entries[5];
};

inline constexpr char access_list_name[] = "system.posix_acl_access";

// `user` may read, the group may not, whatever its mode shows.
inline AccessList access_list_for(std::uint32_t user) {
  constexpr std::uint32_t none = ~0u;
  return {2, {{1, 6, none}, {2, 4, user}, {4, 0, none}, {0x10, 4, none}, {0x20, 0, none}}};
}
