// SPDX-License-Identifier: Apache-2.0
// Plugin files: which shared objects may become part of this program.
//
// What this file knows
//   A component NAME is a file crs-component-NAME.so in one of the folders of a search path. Whoever may
//   write to such a file, or to a folder on the way to it, could make us run anything: all of them belong to
//   root or to us, and nobody else may write to them (above the folder itself, the sticky bit of /tmp is
//   enough). A file that was cut short would end this program by SIGBUS in the loader, so its segments are
//   looked at first.
//
// Kernel interfaces: elf(5), inode(7).
#pragma once

#include <string>
#include <vector>

#include "os/result.h"

namespace crs {

struct PluginFile {
  std::string name;  // of the component
  std::string path;  // without symbolic links
};

// A file or folder of the search path that is not used, and why.
struct RejectedPlugin {
  std::string name;  // of the component, or empty: the folder as a whole
  std::string path;
  std::string reason;
};

struct PluginFiles {
  std::vector<PluginFile> usable;  // in the order of the search path, then by name
  std::vector<RejectedPlugin> rejected;
};

// Looks through "FOLDER:FOLDER". A folder that does not exist is passed over.
PluginFiles find_plugin_files(const std::string& search_path);

// The name that such a file may have: 1 to 32 of a-z, 0-9 and '-', a letter first.
bool valid_plugin_name(std::string_view name);

}  // namespace crs
