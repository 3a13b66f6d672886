// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "os/proc.h"

namespace crs {

namespace {
constexpr std::uint64_t greatest_pid = 1u << 22;  // PID_MAX_LIMIT of a 64-bit kernel
}

Result<Pid> parse_pid(std::string_view text) {
  const bool digits = !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  const auto number = digits ? parse_number(text) : std::nullopt;
  if (!number) {
    Error error(Errc::usage, "'" + std::string(text) + "' is not a process id");
    error.set_hint("a process id is a number, as `ps` or `pidof NAME` print it");
    return error;
  }
  if (*number == 0 || *number > greatest_pid) {
    return Error(Errc::usage, "'" + std::string(text) + "' is not a process id: they go from 1 to " +
                                  std::to_string(greatest_pid));
  }
  return Pid(static_cast<pid_t>(*number));
}

Status check_pid(Pid pid) {
  if (pid.v == getpid()) {
    return Error(Errc::refused, "that is crs itself")
        .with_hint("a program saves itself by the library, not by its own crs command");
  }
  if (pid.v == 1) {
    return Error(Errc::refused, "that is init, on which everything else here depends")
        .with_hint("save the program itself, not the machine's or container's first process");
  }
  auto proc = ProcDir::open(pid);
  if (proc) {
    // A leader that has ended while other threads go on is in state Z as well. One that is on its way there
    // has lost its memory already.
    constexpr std::uint64_t exiting = 4;  // PF_EXITING in field 9 of proc(5) stat
    const auto stat = proc->stat();
    const auto tasks = proc->tasks();
    const bool ends = stat && (stat->state == 'Z' || (stat->field(9) & exiting) != 0);
    if (!ends || !tasks || tasks->size() > 1) return ok();
    return Error(Errc::not_found, "process " + std::to_string(pid.v) + " (" + stat->comm + ") has ended")
        .with_hint("only its exit status is left (a zombie), until its parent asks for it");
  }
  if (proc.error().code() == Errc::not_found || proc.error().code() == Errc::target_gone) {
    return Error(Errc::not_found, "there is no process " + std::to_string(pid.v));
  }
  return std::move(proc).error();
}

Error or_its_end(Error error, Pid pid) {
  // These tell what is wrong with the process. To an ordinary user a dying one is a forbidden one.
  const bool about_it = error.code() == Errc::unsupported || error.code() == Errc::kernel ||
                        error.code() == Errc::not_found || error.code() == Errc::refused ||
                        error.code() == Errc::permission;
  const auto there = about_it ? check_pid(pid) : ok();
  if (there || there.error().code() != Errc::not_found) return error;
  return Error(Errc::target_gone, "process " + std::to_string(pid.v) + " ended meanwhile");
}

Result<std::chrono::nanoseconds> parse_span(std::string_view text) {
  const auto wrong = [&] {
    return Error(Errc::usage, "'" + std::string(text) + "' is not a time")
        .with_hint("a number of seconds, or one with a unit: 250ms, 1.5s, 10m, 2h");
  };
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (problem != std::errc()) return wrong();
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  double seconds = number;
  if (unit == "ms") {
    seconds = number / 1000;
  } else if (unit == "m" || unit == "min") {
    seconds = number * 60;
  } else if (unit == "h") {
    seconds = number * 3600;
  } else if (!unit.empty() && unit != "s") {
    return wrong();
  }
  // Nine years: far more than anybody waits, and far from what overflows a time on the monotonic clock.
  if (!(seconds > 0) || seconds > 3e8) return wrong();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

Result<Deadline> parse_timeout(const std::string& text) {
  if (text.empty()) return Deadline::never();
  auto span = parse_span(text);
  if (!span) return std::move(span).error().with_context("--timeout");
  return Deadline::after(*span);
}

Result<std::pair<int, std::string>> parse_fd_path(std::string_view text) {
  const auto equals = text.find('=');
  const auto number = equals == std::string_view::npos ? std::nullopt : parse_number(text.substr(0, equals));
  if (!number || *number > 1u << 20 || equals + 1 == text.size()) {
    return Error(Errc::usage, "--fd wants N=PATH, not '" + std::string(text) + "'");
  }
  return std::pair(static_cast<int>(*number), std::string(text.substr(equals + 1)));
}

Result<std::string> parse_variable(const std::string& text) {
  const auto equals = text.find('=');
  if (text.empty() || equals == 0)
    return Error(Errc::usage, "--env wants NAME or NAME=VALUE, not '" + text + "'");
  if (equals != std::string::npos) return text;
  const char* const value = std::getenv(text.c_str());
  if (value == nullptr)
    return Error(Errc::usage, "--env " + text + ": there is no such variable here")
        .with_hint("--env NAME=VALUE");
  return text + "=" + value;
}

std::string store_path(const std::string& option, const Service& service) {
  if (!option.empty()) return option;
  const char* variable = std::getenv("CRS_STORE");
  if (variable == nullptr || *variable == '\0') {
    const auto& parameter = service.parameters().view("service").text("store");
    if (!parameter.empty()) return parameter;
  }
  return store::Store::default_path();
}

Result<store::Store> open_store(const std::string& option, const Service& service, bool create) {
  CRS_TRY(const auto path, absolute_path(store_path(option, service)));
  return store::Store::open(path, create);
}

Result<std::string> find_snapshot(const std::string& name, const std::string& store_option,
                                  const Service& service) {
  if (name.empty()) return Error(Errc::usage, "the name of a snapshot is empty");
  if (name == "-") {
    return Error(Errc::usage, "a snapshot cannot be read from standard input")
        .with_hint("name it by its path, JOB or JOB@N; a directory named '-' is ./-");
  }
  // A path needs no store, which may not even exist.
  std::error_code problem;
  if (name.find('/') != std::string::npos || std::filesystem::exists(name + "/manifest.json", problem)) {
    if (!std::filesystem::exists(name, problem) && !problem) {
      return Error(Errc::not_found, "there is no snapshot " + name);
    }
    return absolute_path(name);
  }
  auto store = open_store(store_option, service, false);
  if (!store) {
    if (store.error().code() != Errc::not_found) return std::move(store).error();
    return Error(Errc::not_found, "there is no snapshot '" + name + "': the store " +
                                      store_path(store_option, service) + " does not exist")
        .with_hint("--store or CRS_STORE names another store");
  }
  return store->resolve(name);
}

std::string default_job_name(std::string_view command, Pid pid) {
  std::string name;
  for (const char c : command) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '-' || c == '+';
    name += good ? c : '_';
  }
  if (name.empty() || name.front() == '.' || name.front() == '-') name.insert(0, "_");
  return name + "-" + std::to_string(pid.v);
}

Result<std::string> absolute_path(const std::string& path) {
  if (path.empty()) return Error(Errc::usage, "a path is empty");
  std::error_code problem;
  const auto absolute = std::filesystem::absolute(path, problem);
  if (problem) return Error::from_errno(problem.value(), path);
  std::string text = absolute.lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

}  // namespace crs
