// SPDX-License-Identifier: Apache-2.0
#include "store/manifest.h"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <utility>

#include "os/file_io.h"
#include "store/checksum.h"

namespace crs::store {
namespace {

using nlohmann::json;

// In the order in which they are printed; "checksum" is the last of the file.
constexpr const char* known_keys[] = {
    "format_version", "component",    "crs_version", "job",           "generation", "created_ns",
    "host",           "architecture", "kernel",      "boot_id",       "clocks",     "pid",
    "command",        "executable",   "arguments",   "uid",           "threads",    "memory_bytes",
    "left_out_bytes", "stop_ns",      "files",       "component_data"};
constexpr const char* checksum_key = "checksum";
constexpr int deepest = 64;  // dump() and others recurse

// The text that the checksum is made of: compact, ASCII, keys sorted, the checksum itself left out.
std::string checksum_text(json value) {
  value.erase(checksum_key);
  return checksum_of(as_bytes(value.dump(-1, ' ', true, json::error_handler_t::replace))).to_hex();
}

// Paths and arguments may hold any bytes, JSON holds UTF-8. What is not UTF-8 is kept readable, not exact:
// the exact bytes are in the sections.
std::string readable(const std::string& text) {
  return json::parse(json(text).dump(-1, ' ', true, json::error_handler_t::replace)).get<std::string>();
}

bool is_too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > deepest) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

// Takes values out of an object; remembers the first one that is missing, of another type or out of range.
class Taker {
 public:
  explicit Taker(const json& object) : object_(object) {}
  const std::string& problem() const { return problem_; }

  void operator()(const char* key, std::string& into) {
    if (const json* value = find(key, &json::is_string)) into = value->get<std::string>();
  }
  template <class Number>
  requires std::is_integral_v<Number>
  void operator()(const char* key, Number& into) {
    const json* value = find(key, &json::is_number_integer);
    if (value == nullptr) return;
    // A negative number is signed in the library, any other one unsigned.
    const bool fits = value->is_number_unsigned() ? std::in_range<Number>(value->get<std::uint64_t>())
                                                  : std::in_range<Number>(value->get<std::int64_t>());
    if (fits) {
      into = value->get<Number>();
    } else {
      complain(key, "out of range");
    }
  }
  void operator()(const char* key, std::vector<std::string>& into) {
    const json* value = find(key, &json::is_array);
    if (value == nullptr) return;
    for (const json& each : *value) {
      if (!each.is_string()) return complain(key, "of the wrong type");
      into.push_back(each.get<std::string>());
    }
  }
  const json* find(const char* key, bool (json::*is_right)() const noexcept) {
    const auto found = object_.find(key);
    if (found == object_.end()) {
      complain(key, "missing");
      return nullptr;
    }
    if (((*found).*is_right)()) return &*found;
    complain(key, "of the wrong type");
    return nullptr;
  }
  void complain(const char* key, const char* what) {
    if (problem_.empty()) problem_ = "'" + std::string(key) + "' is " + what;
  }

 private:
  const json& object_;
  std::string problem_;
};

std::string take_files(const json& list, std::vector<ManifestFile>& files) {
  for (const json& entry : list) {
    if (!entry.is_object()) return "'files' is of the wrong type";
    ManifestFile file;
    Taker take(entry);
    take("name", file.name);
    take("bytes", file.bytes);
    take("checksum", file.checksum);
    if (!take.problem().empty()) return "files: " + take.problem();
    if (!is_plain_name(file.name)) return "a file has an impossible name";
    if (std::ranges::find(files, file.name, &ManifestFile::name) != files.end()) {
      return "the file '" + file.name + "' stands there twice";
    }
    files.push_back(std::move(file));
  }
  return "";
}

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
  all["host"] = readable(host);
  all["architecture"] = architecture;
  all["kernel"] = readable(kernel);
  all["boot_id"] = boot_id;
  if (clocks) {
    all["clocks"] = {{"monotonic_ns", clocks->monotonic_ns},
                     {"boottime_ns", clocks->boottime_ns},
                     {"monotonic_offset_ns", clocks->monotonic_offset_ns},
                     {"boottime_offset_ns", clocks->boottime_offset_ns}};
  }
  all["pid"] = pid;
  all["command"] = readable(command);
  all["executable"] = readable(executable);
  all["arguments"] = std::move(words);
  all["uid"] = uid;
  all["threads"] = threads;
  all["memory_bytes"] = memory_bytes;
  if (left_out_bytes != 0) all["left_out_bytes"] = left_out_bytes;
  all["stop_ns"] = stop_ns;
  all["files"] = std::move(files_list);
  all["component_data"] = component_data.is_object() ? component_data : json::object();

  nlohmann::ordered_json printed = nlohmann::ordered_json::object();
  for (const char* key : known_keys) {
    if (all.contains(key)) printed[key] = all[key];
  }
  for (const auto& [key, value] : all.items()) {
    if (!printed.contains(key) && key != checksum_key) printed[key] = value;
  }
  printed[checksum_key] = checksum_text(all);
  return printed.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Result<Manifest> Manifest::parse(std::string_view text, std::string_view where) {
  const auto bad = [&](const std::string& what) {
    return Error(Errc::bad_snapshot, std::string(where) + ": " + what);
  };
  if (is_too_deep(text)) return bad("it is damaged: nested too deeply");
  const json all = json::parse(text, nullptr, false);
  if (!all.is_object())
    return bad(text.empty() ? "it is empty" : "it is no JSON object: cut short or damaged");
  Manifest manifest;
  Taker take(all);
  take("format_version", manifest.version);
  if (!take.problem().empty()) return bad("it is damaged: " + take.problem());
  if (manifest.version > store::format_version) {
    return bad("it has format version " + std::to_string(manifest.version) +
               ", this crs reads up to version " + std::to_string(store::format_version))
        .with_hint("use a newer crs");
  }
  if (manifest.version == 0) return bad("it is damaged: 'format_version' is out of range");
  std::string checksum;
  take(checksum_key, checksum);
  if (!take.problem().empty()) return bad("it is damaged: " + take.problem());
  if (checksum != checksum_text(all)) return bad("it is damaged (checksum)");
  take("component", manifest.component);
  take("crs_version", manifest.crs_version);
  take("job", manifest.job);
  take("generation", manifest.generation);
  take("created_ns", manifest.created_ns);
  take("host", manifest.host);
  take("architecture", manifest.architecture);
  take("kernel", manifest.kernel);
  take("boot_id", manifest.boot_id);
  if (all.contains("clocks")) {
    const json* const clocks = take.find("clocks", &json::is_object);
    if (!take.problem().empty()) return bad(take.problem());
    Taker inner(*clocks);
    ManifestClocks& its = manifest.clocks.emplace();
    inner("monotonic_ns", its.monotonic_ns);
    inner("boottime_ns", its.boottime_ns);
    inner("monotonic_offset_ns", its.monotonic_offset_ns);
    inner("boottime_offset_ns", its.boottime_offset_ns);
    if (!inner.problem().empty()) return bad("clocks: " + inner.problem());
  }
  take("pid", manifest.pid);
  take("command", manifest.command);
  take("executable", manifest.executable);
  take("arguments", manifest.arguments);
  take("uid", manifest.uid);
  take("threads", manifest.threads);
  take("memory_bytes", manifest.memory_bytes);
  if (all.contains("left_out_bytes")) take("left_out_bytes", manifest.left_out_bytes);
  take("stop_ns", manifest.stop_ns);
  const json* list = take.find("files", &json::is_array);
  const json* data = take.find("component_data", &json::is_object);
  if (!take.problem().empty()) return bad(take.problem());
  if (const std::string problem = take_files(*list, manifest.files); !problem.empty()) return bad(problem);
  manifest.component_data = *data;
  for (const auto& [key, value] : all.items()) {
    if (std::ranges::find(known_keys, key) == std::end(known_keys) && key != checksum_key)
      manifest.unknown[key] = value;
  }
  return manifest;
}

}  // namespace crs::store
