// SPDX-License-Identifier: Apache-2.0
// crs verify: reads every byte of a snapshot and checks it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <thread>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/report.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "SNAPSHOT is a path, JOB (its latest) or JOB@N. Checks manifest, state and every page against their\n"
    "checksums. Exit status 0: whole; 8: damaged, and what is wrong with it.";

class Verify : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("SNAPSHOT", snapshot_, "a path, JOB or JOB@N")->required();
    app.add_option("--store", store_, "the store ($CRS_STORE, else ~/.local/state/crs)")->type_name("DIR");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "as JSON");
    app.add_flag("-q,--quiet", quiet_, "tell it by the exit status alone");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    const Report report("verify " + snapshot_, json_);
    auto service = invocation.make_service();
    if (!service) return report.fail(service.error());
    auto verified = work(*service);
    if (!verified) return report.fail(verified.error());
    const auto& manifest = verified->manifest();
    if (json_) {
      return report.answer({{"snapshot", verified->path()},
                            {"good", true},
                            {"component", manifest.component},
                            {"memory_bytes", manifest.memory_bytes},
                            {"files", manifest.files.size()}});
    }
    if (quiet_) return 0;
    return report.print(printable(fmt::format("{}: good ({} files, {} of memory)\n", verified->path(),
                                              manifest.files.size(), format_bytes(manifest.memory_bytes))));
  }

 private:
  Result<store::SnapshotReader> work(const Service& service) const {
    CRS_TRY(const auto deadline, parse_timeout(timeout_));
    CRS_TRY(const auto path, find_snapshot(snapshot_, store_, service));
    CRS_TRY(auto reader, store::SnapshotReader::open(path));
    CRS_CHECK(reader.verify(std::clamp(std::thread::hardware_concurrency(), 1u, 8u), deadline));
    return reader;
  }

  std::string snapshot_, store_, timeout_;
  bool json_ = false, quiet_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_verify{
    .name = "verify",
    .summary = "check every byte of a snapshot",
    .position = 60,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Verify>(); }};

}  // namespace crs
