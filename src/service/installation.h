// SPDX-License-Identifier: Apache-2.0
// Installation: where the parts that belong to the running crs are.
//
// What this file knows
//   An installed tree may be moved, so everything is found from the program's own place (/proc/self/exe): in
//   the build folder beside it, installed at the place that the build knows between bin and lib.
#pragma once

#include <string>

#include "os/result.h"

namespace crs {

// Where components that are shared objects are installed: LIBDIR/crs/components. It need not exist.
std::string component_folder();

// libcrs.so: $CRS_LIBRARY, else beside crs, else where it is installed. errors: not_found.
Result<std::string> find_library();

}  // namespace crs
