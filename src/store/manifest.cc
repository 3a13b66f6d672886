// SPDX-License-Identifier: Apache-2.0
#include "store/manifest.h"

#include <set>

#include "os/file_io.h"
#include "store/checksum.h"

namespace crs::store {
namespace {

using nlohmann::json;

constexpr std::string_view checksum_key = "checksum";

// The text that the checksum is made of: compact, keys sorted, the checksum itself left out.
std::string canonical(json value) {
  value.erase(std::string(checksum_key));
  return value.dump(-1, ' ', true, json::error_handler_t::replace);
}

std::string checksum_text(const json& value) { return checksum_of(as_bytes(canonical(value))).to_hex(); }

// Paths and arguments may hold any bytes; JSON holds UTF-8. What is not UTF-8 is kept readable, not exact: the exact bytes
// are in the sections.
std::string readable(const std::string& text) { return json::parse(json(text).dump(-1, ' ', true, json::error_handler_t::replace)).get<std::string>(); }

}  // namespace

std::string Manifest::to_json_text() const {
  json files_list = json::array();
  for (const ManifestFile& file : files) {
    files_list.push_back({{"name", file.name}, {"bytes", file.bytes}, {"checksum", file.checksum}});
  }
  json words = json::array();
  for (const std::string& word : arguments) words.push_back(readable(word));
  json all = unknown.is_object() ? unknown : json::object();
  all["format_version"] = version;
  all["component"] = component;
  all["crs_version"] = crs_version;
  all["job"] = job;
  all["generation"] = generation;
  all["created_ns"] = created_ns;
  all["host"] = host;
  all["architecture"] = architecture;
  all["kernel"] = kernel;
  all["boot_id"] = boot_id;
  all["pid"] = pid;
  all["command"] = readable(command);
  all["executable"] = readable(executable);
  all["arguments"] = std::move(words);
  all["uid"] = uid;
  all["threads"] = threads;
  all["memory_bytes"] = memory_bytes;
  all["stop_ns"] = stop_ns;
  all["files"] = std::move(files_list);
  all["component_data"] = component_data;
  all[std::string(checksum_key)] = checksum_text(all);
  return all.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<Manifest> Manifest::parse(std::string_view text, std::string_view where) {
  const auto bad = [&](const std::string& what) { return Error(Errc::bad_snapshot, std::string(where) + ": " + what); };
  json all = json::parse(text, nullptr, false);
  if (!all.is_object()) return bad("it is no JSON object: cut short or damaged");
  Manifest manifest;
  try {
    manifest.version = all.at("format_version").get<std::uint32_t>();
    if (manifest.version > store::format_version) {
      return bad("it has format " + std::to_string(manifest.version) + ", this crs reads up to " +
                 std::to_string(store::format_version))
          .with_hint("use a newer crs");
    }
    if (all.at(std::string(checksum_key)).get<std::string>() != checksum_text(all)) return bad("it is damaged (checksum)");
    const auto take = [&](const char* key, auto& into) { all.at(key).get_to(into); };
    take("component", manifest.component);
    take("crs_version", manifest.crs_version);
    take("job", manifest.job);
    take("generation", manifest.generation);
    take("created_ns", manifest.created_ns);
    take("host", manifest.host);
    take("architecture", manifest.architecture);
    take("kernel", manifest.kernel);
    take("boot_id", manifest.boot_id);
    take("pid", manifest.pid);
    take("command", manifest.command);
    take("executable", manifest.executable);
    take("arguments", manifest.arguments);
    take("uid", manifest.uid);
    take("threads", manifest.threads);
    take("memory_bytes", manifest.memory_bytes);
    take("stop_ns", manifest.stop_ns);
    for (const json& entry : all.at("files")) {
      ManifestFile file;
      entry.at("name").get_to(file.name);
      entry.at("bytes").get_to(file.bytes);
      entry.at("checksum").get_to(file.checksum);
      if (file.name.empty() || file.name[0] == '.' || file.name.find('/') != std::string::npos ||
          file.name.find('\0') != std::string::npos) {
        return bad("a file has the impossible name '" + file.name + "'");
      }
      manifest.files.push_back(std::move(file));
    }
    manifest.component_data = all.at("component_data");
  } catch (const json::exception& error) {
    return bad(error.what());
  }
  static const std::set<std::string, std::less<>> known = {
      "format_version", "component", "crs_version", "job",       "generation", "created_ns", "host",
      "architecture",   "kernel",    "boot_id",     "pid",       "command",    "executable", "arguments",
      "uid",            "threads",   "memory_bytes", "stop_ns",  "files",      "component_data", "checksum"};
  for (auto& [key, value] : all.items()) {
    if (!known.contains(key)) manifest.unknown[key] = value;
  }
  return manifest;
}

}  // namespace crs::store
