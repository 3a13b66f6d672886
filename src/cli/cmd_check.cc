// SPDX-License-Identifier: Apache-2.0
// crs check: tells before anything is tried whether a process can be saved, and what that takes.
#include <fmt/format.h>
#include <sys/statvfs.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/report.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "Looks at the process for as long as a glance takes and says what cannot be saved, what would not come "
    "back\n"
    "as it was, and how much space and time a checkpoint needs. Exit status 0: it can be saved; 5: it "
    "cannot.";

// Writing with zstd level 1 on two cores: 0.6 to 1.5 GiB/s, by content. A guess that is rather too long.
constexpr double bytes_per_second = 600.0 * 1024 * 1024;

// Free bytes for this user where the store is, or will be made.
std::optional<std::uint64_t> free_bytes(const std::string& store) {
  std::filesystem::path place(store);
  std::error_code problem;
  while (!std::filesystem::exists(place, problem) && place.has_parent_path() &&
         place != place.parent_path()) {
    place = place.parent_path();
  }
  struct statvfs numbers {};
  if (statvfs(place.c_str(), &numbers) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(numbers.f_bavail) * numbers.f_frsize;
}

class Check : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("PID", pid_, "the process")->required();
    app.add_option("--store", store_, "the store it would go to")->type_name("DIR");
    app.add_flag("--skip-dontdump", skip_dontdump_, "as it would be with this option of crs checkpoint");
    app.add_option("--component", component_, "which checkpointer (`crs components` lists them)")
        ->type_name("NAME");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "as JSON");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    const Report report("check " + pid_, json_);
    auto service = invocation.make_service();
    if (!service) return report.fail(service.error());
    auto outlook = look(*service);
    if (!outlook) return report.fail(outlook.error());
    auto path = absolute_path(store_path(store_, *service));
    const auto free = path ? free_bytes(*path) : std::nullopt;
    const bool fits = !free || *free >= outlook->memory_bytes;
    const int status = outlook->blockers.empty() ? 0 : exit_code(Errc::refused);
    const int shown = json_ ? answer(report, *outlook, free, status) : tell(report, *outlook, free, fits);
    return shown != 0 ? shown : status;
  }

 private:
  Result<Outlook> look(const Service& service) const {
    CRS_TRY(const auto deadline, parse_timeout(timeout_));
    CRS_TRY(const auto pid, parse_pid(pid_));
    CRS_CHECK(check_pid(pid));
    CRS_TRY(const auto* component, service.choose(component_, {.pid = pid, .by_name = false}));
    auto outlook =
        component->component->examine({.pid = pid, .deadline = deadline, .skip_dontdump = skip_dontdump_});
    if (!outlook) return or_its_end(std::move(outlook).error(), pid);
    return outlook;
  }

  static std::chrono::nanoseconds writing_time(const Outlook& outlook) {
    const double seconds = static_cast<double>(outlook.memory_bytes) / bytes_per_second;
    return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9) + 10'000'000);
  }

  int tell(const Report& report, const Outlook& outlook, std::optional<std::uint64_t> free, bool fits) const {
    std::string text = fmt::format("{} ({}): {}\n", pid_, outlook.command,
                                   outlook.blockers.empty() ? "can be saved" : "cannot be saved");
    for (const auto& blocker : outlook.blockers) {
      text += fmt::format("  {}: {}\n", blocker.object, blocker.reason);
      if (!blocker.remedy.empty()) text += fmt::format("    remedy: {}\n", blocker.remedy);
    }
    for (const auto& note : outlook.notes) text += fmt::format("  note: {}\n", note);
    text += fmt::format("  has: {} threads, {} mappings, {} descriptors\n", outlook.threads, outlook.mappings,
                        outlook.descriptors);
    text +=
        fmt::format("  space: at most {} (before compression){}{}{}\n", format_bytes(outlook.memory_bytes),
                    left_out(outlook.left_out_bytes, outlook.left_out_regions),
                    free ? fmt::format("; {} free in the store", format_bytes(*free)) : "",
                    fits ? "" : ": it may not fit");
    text += fmt::format("  time: about {}; this look stopped it for {}\n", format_span(writing_time(outlook)),
                        format_span(outlook.stop));
    return report.print(printable(text));
  }

  int answer(const Report& report, const Outlook& outlook, std::optional<std::uint64_t> free,
             int status) const {
    nlohmann::json value = {{"pid", std::stoi(pid_)},
                            {"command", outlook.command},
                            {"can_be_saved", outlook.blockers.empty()},
                            {"exit", status},
                            {"blockers", json_blockers(outlook.blockers)},
                            {"notes", outlook.notes},
                            {"threads", outlook.threads},
                            {"mappings", outlook.mappings},
                            {"descriptors", outlook.descriptors},
                            {"memory_bytes", outlook.memory_bytes},
                            {"left_out_bytes", outlook.left_out_bytes},
                            {"left_out_regions", outlook.left_out_regions},
                            {"estimated_ns", writing_time(outlook).count()},
                            {"stop_ns", outlook.stop.count()}};
    value["free_bytes"] = free ? nlohmann::json(*free) : nlohmann::json(nullptr);
    return report.answer(value);
  }

  std::string pid_, store_, component_, timeout_;
  bool skip_dontdump_ = false, json_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_check{
    .name = "check",
    .summary = "tell whether a process can be saved",
    .position = 30,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Check>(); }};

}  // namespace crs
