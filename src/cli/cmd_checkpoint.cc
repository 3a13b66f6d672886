// SPDX-License-Identifier: Apache-2.0
// crs checkpoint: saves a process.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "cli/command.h"
#include "cli/debugger_stop.h"
#include "cli/event_lines.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "gate/gate.h"
#include "os/proc.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "The process is stopped for a moment, its state is captured, and it runs on while the rest is written.\n"
    "Nothing is sent to it and it need not know. On any failure it runs on unharmed and nothing is left\n"
    "behind. The last line of standard output is the snapshot's path.\n"
    "\n"
    "  crs checkpoint 4711                     into the store, as job COMMAND-4711\n"
    "  crs checkpoint 4711 --job nightly       as the next generation of job nightly\n"
    "  crs checkpoint 4711 -o /data/snapshot   into a directory of your own\n"
    "  crs checkpoint 4711 --term              and end it, once the snapshot is safe on disk";

// The generation's number is the name of the directory, of which the writer has only the hidden one so far:
// ".000007.partial.PID" (store/snapshot.h).
std::uint64_t generation_of(const store::SnapshotWriter& writer) {
  const auto link = read_link("/proc/self/fd/" + std::to_string(writer.directory()));
  if (!link) return 0;
  const auto name = std::filesystem::path(*link).filename().string();
  std::uint64_t number = 0;
  if (name.size() > 1) std::from_chars(name.data() + 1, name.data() + name.size(), number);
  return number;
}

class Checkpoint : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("PID", pid_, "the process")->required();
    app.add_option("--job", job_, "the job's name in the store (COMMAND-PID)");
    app.add_option("--store", store_, "the store ($CRS_STORE, else ~/.local/state/crs)")->type_name("DIR");
    app.add_option("-o,--output", output_, "make the snapshot at DIR, outside any store")->type_name("DIR");
    auto* term = app.add_flag("--term", term_, "end the process once the snapshot is durable");
    auto* stop = app.add_flag("--stop", stop_, "leave it stopped (SIGSTOP) once the snapshot is durable")
                     ->excludes(term);
    debugger_.declare(app, {term, stop});
    app.add_flag("--skip-dontdump", skip_dontdump_,
                 "leave out memory that is in no core dump (MADV_DONTDUMP)");
    app.add_option("--component", component_, "which checkpointer (`crs components` lists them)")
        ->type_name("NAME");
    app.add_option("--compress", codec_, "zstd, lz4 or none (zstd)");
    app.add_option("--level", level_, "the compressor's own scale (1)")->check(CLI::Range(-50, 22));
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "tell the result as JSON");
    app.add_option("--events", events_fd_, "write what it is at to this descriptor, a JSON object a line")
        ->type_name("FD")
        ->check(CLI::NonNegativeNumber);
    app.add_flag("-q,--quiet", quiet_, "no progress and no summary");
    app.add_option("--answer", answer_fd_, "descriptor of the control page that waits for the answer")
        ->group("");
    app.add_flag("--for-rollback", for_rollback_, "the snapshot need not outlive the process")->group("");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    Report report("checkpoint " + pid_, json_);
    report.set_quiet(quiet_);
    InterruptGuard interrupt;
    Progress progress(report, quiet_);
    auto events = EventLines::open(events_fd_, progress);
    auto saved = events ? work(invocation, report, interrupt, progress, *events)
                        : Result<SavedProcess>(events.error());
    if (events) events->end(saved ? nullptr : &saved.error());
    if (answer_fd_ >= 0) answer_the_process(saved);
    if (saved && stop_point_) {
      report.say("crs: " + stop_point_->invitation());
      if (auto note = stop_point_->wait(interrupt); !note.empty()) {
        if (!report.json()) report.note(note);
        saved->notes.push_back(std::move(note));
      }
    }
    stop_point_.reset();
    if (!saved && used_store_) used_store_->forget_if_empty(used_job_);
    if (!saved && interrupt.signal() != 0) {
      if (saved.error().code() != Errc::target_gone)
        saved.error().set_hint("the process runs on, and nothing was left behind");
      report.fail(saved.error(), 128 + interrupt.signal());
      return die_of(interrupt.signal());
    }
    if (!saved) return report.fail(saved.error());
    return tell(report, *saved);
  }

 private:
  Result<SavedProcess> work(const Invocation& invocation, const Report& report,
                            const InterruptGuard& interrupt, Progress& progress, EventLines& events) {
    CRS_TRY(auto deadline, parse_timeout(timeout_));
    deadline.also_when(interrupt.flag());
    CRS_TRY(const auto pid, parse_pid(pid_));
    if (!output_.empty() && (!job_.empty() || !store_.empty())) {
      return Error(Errc::usage,
                   "-o makes a snapshot outside any store: it goes with neither --job nor --store");
    }
    if (!job_.empty() && !store::Store::valid_job_name(job_)) {
      return Error(Errc::usage, "'" + job_ + "' is no name for a job")
          .with_hint("letters, digits, '.', '_', '-' and '+', not starting with '.'");
    }
    store::PageFileOptions pages;
    auto codec = store::parse_codec(codec_);
    if (!codec) return std::move(codec.error().set_code(Errc::usage));
    pages.codec = *codec;
    pages.level = level_;
    CRS_CHECK(check_pid(pid));
    CRS_TRY(auto service, invocation.make_service());
    CRS_TRY(const auto* component, service.choose(component_, {.pid = pid, .by_name = false}));

    const bool stands = debugger_.wanted(service) && !term_ && !stop_ && !for_rollback_;
    if (stands && DebuggerStop::is_stopped(pid)) {
      return Error(Errc::refused,
                   to_string(pid) + " is stopped already, so nobody would know whether to let it go")
          .with_hint("checkpoint it with --detach-debugger; a debugger can attach to a stopped process");
    }
    if (stands) {
      CRS_TRY(auto stop, DebuggerStop::guard(pid, debugger_.limit(service)));
      stop_point_.emplace(std::move(stop));
    }
    store::Manifest manifest;
    manifest.job = job_;
    CRS_TRY(auto writer, make_writer(pid, service, pages, manifest));
    const auto link = read_link("/proc/self/fd/" + std::to_string(writer.directory()));
    const std::string place = link ? std::filesystem::path(*link).parent_path().string() : output_;
    auto outcome = service.checkpoint(*component,
                                      {.pid = pid,
                                       .after = term_             ? AfterCheckpoint::terminate
                                                : stop_ || stands ? AfterCheckpoint::stop
                                                                  : AfterCheckpoint::run,
                                       .deadline = deadline,
                                       .skip_dontdump = skip_dontdump_,
                                       .for_rollback = for_rollback_},
                                      writer, std::move(manifest), events);
    auto notes = progress.finish();
    if (const auto* error = outcome.error()) {
      Error shown = or_its_end(*error, pid);
      if (shown.code() == Errc::storage && shown.to_string().find(place) == std::string::npos)
        shown.add_context(place);
      return shown;
    }
    SavedProcess saved = outcome.continued()->saved;
    add_notes(report, saved, std::move(notes));
    return saved;
  }

  Result<store::SnapshotWriter> make_writer(Pid pid, const Service& service,
                                            const store::PageFileOptions& pages, store::Manifest& manifest) {
    if (!output_.empty()) {
      CRS_TRY(const auto path, absolute_path(output_));
      auto writer = store::SnapshotWriter::create(path, pages);
      if (!writer) return not_writable(std::move(writer).error());
      return writer;
    }
    if (manifest.job.empty()) {
      auto proc = ProcDir::open(pid);
      if (!proc) return std::move(proc).error();
      CRS_TRY(const auto stat, proc->stat());
      manifest.job = default_job_name(stat.comm, pid);
    }
    auto store = open_store(store_, service, true);
    if (!store) return not_writable(std::move(store).error());
    used_store_ = std::move(*store);
    used_job_ = manifest.job;
    auto writer = used_store_->begin(manifest.job, pages);
    if (!writer) return not_writable(std::move(writer).error());
    manifest.generation = generation_of(*writer);
    return writer;
  }

  // That a place may not be written to is told from that the process may not be looked into.
  static Error not_writable(Error error) {
    if (error.error_number() == EACCES || error.error_number() == EPERM) error.set_code(Errc::storage);
    return error;
  }

  // To the process that has itself saved (gate/control_page.h).
  void answer_the_process(const Result<SavedProcess>& saved) const {
    auto mapping = ControlMapping::map(OwnedFd(answer_fd_));
    if (!mapping) return;
    if (!saved) {
      mapping->tell_failure(saved.error());
      return;
    }
    auto reader = store::SnapshotReader::open(saved->path);
    if (!reader) {
      mapping->tell_failure(reader.error());
      return;
    }
    mapping->tell_snapshot(ControlSnapshot::of(reader->path(), reader->manifest()), Answer::continued);
  }

  // Notes come while it runs and in the report; each is shown once.
  static void add_notes(const Report& report, SavedProcess& saved, std::vector<std::string> shown) {
    for (auto& note : saved.notes) {
      if (std::ranges::find(shown, note) != shown.end()) continue;
      if (!report.json()) report.note(note);
      shown.push_back(std::move(note));
    }
    saved.notes = std::move(shown);
  }

  int tell(const Report& report, const SavedProcess& saved) const {
    if (report.json()) {
      return report.answer({{"snapshot", saved.path},
                            {"pid", std::stoi(pid_)},
                            {"stop_ns", saved.stop.count()},
                            {"total_ns", saved.total.count()},
                            {"memory_bytes", saved.memory_bytes},
                            {"stored_bytes", saved.stored_bytes},
                            {"left_out_bytes", saved.left_out_bytes},
                            {"left_out_regions", saved.left_out_regions},
                            {"threads", saved.threads},
                            {"restorable", saved.restorable},
                            {"after", term_   ? "terminated"
                                      : stop_ ? "stopped"
                                              : "running"},
                            {"notes", saved.notes}});
    }
    const char* after = term_ ? ", ended" : stop_ ? ", left stopped" : "";
    report.say(
        fmt::format("saved {}: {} ({} of memory{}), stood still {}, {} in all{}; restart: crs restart {}",
                    pid_, format_bytes(saved.stored_bytes), format_bytes(saved.memory_bytes),
                    left_out(saved.left_out_bytes, saved.left_out_regions), format_span(saved.stop),
                    format_span(saved.total), after, saved.path));
    return report.print(saved.path + "\n");
  }

  std::string pid_, job_, store_, output_, component_, codec_ = "zstd", timeout_;
  std::optional<store::Store> used_store_;
  std::string used_job_;
  DebuggerOptions debugger_;
  std::optional<DebuggerStop> stop_point_;  // until the checkpoint has failed, or the process stands no more
  int level_ = 1, answer_fd_ = -1, events_fd_ = -1;
  bool term_ = false, stop_ = false, skip_dontdump_ = false, json_ = false, quiet_ = false;
  bool for_rollback_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_checkpoint{
    .name = "checkpoint",
    .summary = "save a running process",
    .position = 10,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Checkpoint>(); }};

}  // namespace crs
