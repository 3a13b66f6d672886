// SPDX-License-Identifier: Apache-2.0
#include "service/plugin_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "os/elf_file.h"
#include "os/file_io.h"

namespace crs {
namespace {

constexpr std::string_view prefix = "crs-component-";
constexpr std::string_view suffix = ".so";

Status check_owner(const struct stat& status, const std::string& path, bool sticky_is_enough) {
  if (status.st_uid != 0 && status.st_uid != geteuid())
    return Error(Errc::permission, path + " belongs to user " + std::to_string(status.st_uid) +
                                       ", and only what belongs to root or to oneself is loaded");
  const bool sticky = sticky_is_enough && (status.st_mode & S_ISVTX) != 0;
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky)
    return Error(Errc::permission, path + " can be written to by others (chmod go-w)");
  return ok();
}

// The folder, and all those above it: `path` has no symbolic links.
Status check_folders(const std::filesystem::path& path) {
  for (std::filesystem::path at = path;; at = at.parent_path()) {
    struct stat status {};
    if (stat(at.c_str(), &status) != 0) return Error::from_errno(errno, at);
    CRS_CHECK(check_owner(status, at, at != path));
    if (at == at.root_path()) return ok();
  }
}

// Every segment lies within the file.
Status check_whole(int fd, std::uint64_t size, const std::string& path) {
  const auto header = read_elf_header(fd);
  const bool is_object = header && header->e_type == ET_DYN && header->e_machine == EM_X86_64 &&
                         header->e_phentsize == sizeof(Elf64_Phdr);
  if (!is_object) return Error(Errc::unsupported, path + " is no shared object for x86_64");
  const auto segments = read_program_headers(fd, *header);
  const bool is_whole = segments && std::ranges::all_of(*segments, [size](const Elf64_Phdr& segment) {
                          return segment.p_offset <= size && segment.p_filesz <= size - segment.p_offset;
                        });
  if (!is_whole) return Error(Errc::unsupported, path + " was cut short");
  return ok();
}

Status check_file(const std::string& path) {
  CRS_TRY(const OwnedFd file, open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return Error::from_errno(errno, path);
  if (!S_ISREG(status.st_mode)) return Error(Errc::unsupported, path + " is no regular file");
  CRS_CHECK(check_owner(status, path, false));
  return check_whole(file.get(), static_cast<std::uint64_t>(status.st_size), path);
}

std::string name_in(const std::string& file) {
  if (!file.starts_with(prefix) || !file.ends_with(suffix) || file.size() <= prefix.size() + suffix.size())
    return {};
  return file.substr(prefix.size(), file.size() - prefix.size() - suffix.size());
}

void look_at_file(const std::filesystem::path& link, const std::string& name, PluginFiles& files) {
  const auto reject = [&](std::string reason) {
    files.rejected.push_back({name, link.string(), std::move(reason)});
  };
  std::error_code problem;
  const auto path = std::filesystem::canonical(link, problem);
  if (problem) return reject(link.string() + ": " + problem.message());
  if (!valid_plugin_name(name)) return reject("'" + name + "' is no name for a component");
  // Where a link leads, the folders are others.
  if (auto checked = check_folders(path.parent_path()); !checked) return reject(checked.error().to_string());
  if (auto checked = check_file(path.string()); !checked) return reject(checked.error().to_string());
  files.usable.push_back({name, path.string()});
}

void look_through(const std::string& folder, PluginFiles& files) {
  const auto reject = [&](std::string reason) { files.rejected.push_back({"", folder, std::move(reason)}); };
  if (!folder.starts_with('/')) return reject("a folder in service.component_path is an absolute path");
  std::error_code problem;
  const auto path = std::filesystem::canonical(folder, problem);
  if (problem == std::errc::no_such_file_or_directory) return;
  if (problem) return reject(folder + ": " + problem.message());
  const auto names = list_directory(path.string());
  if (!names) return reject(names.error().to_string());
  const bool any =
      std::ranges::any_of(*names, [](const std::string& each) { return !name_in(each).empty(); });
  if (!any) return;
  if (auto checked = check_folders(path); !checked) return reject(checked.error().to_string());
  for (const std::string& each : *names) {
    if (const std::string name = name_in(each); !name.empty()) look_at_file(path / each, name, files);
  }
}

}  // namespace

bool valid_plugin_name(std::string_view name) {
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && name.size() <= 32 && letter(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; });
}

PluginFiles find_plugin_files(const std::string& search_path) {
  PluginFiles files;
  for (std::size_t at = 0; at < search_path.size();) {
    const std::size_t end = std::min(search_path.find(':', at), search_path.size());
    if (end > at) look_through(search_path.substr(at, end - at), files);
    at = end + 1;
  }
  return files;
}

}  // namespace crs
