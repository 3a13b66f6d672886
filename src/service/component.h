// Component: one checkpointer behind the service (none, self, native, criu, dmtcp).
#pragma once

#include <memory>
#include <span>

#include "os/result.h"

namespace crs {

class Component {
 public:
  virtual ~Component() = default;
};

struct ComponentInfo {
  const char* name;
  int priority;
  std::unique_ptr<Component> (*make)();
};

// The table made by CMake from the folders in src/components/.
std::span<const ComponentInfo* const> builtin_components();

}  // namespace crs
