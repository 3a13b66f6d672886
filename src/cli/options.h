// SPDX-License-Identifier: Apache-2.0
// Options: values of options and arguments that several commands take, from text.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "os/deadline.h"
#include "os/ids.h"
#include "os/result.h"
#include "service/service.h"
#include "store/store.h"

namespace crs {

// A process id: decimal digits only, 1 to 4194304 (PID_MAX_LIMIT). errors: usage.
Result<Pid> parse_pid(std::string_view text);
// The process exists, is not this one and not init. errors: not_found, refused.
Status check_pid(Pid pid);
// Why something failed that was done with the process: if it has ended meanwhile, that is why.
Error or_its_end(Error error, Pid pid);

// "90", "1.5s", "250ms", "10m", "2h"; a number alone is seconds; more than 0. errors: usage.
Result<std::chrono::nanoseconds> parse_span(std::string_view text);
// The deadline of --timeout; empty: none.
Result<Deadline> parse_timeout(const std::string& text);

// "N=PATH". errors: usage.
Result<std::pair<int, std::string>> parse_fd_path(std::string_view text);

// "NAME=VALUE", or "NAME" for the value that it has here. errors: usage.
Result<std::string> parse_variable(const std::string& text);

// Where snapshots are: --store, else $CRS_STORE, else parameter service.store, else the default.
std::string store_path(const std::string& option, const Service& service);
// errors: as Store::open; a store that does not exist yet is not_found when not `create`.
Result<store::Store> open_store(const std::string& option, const Service& service, bool create);
// The directory of the snapshot called `name`: a path, JOB or JOB@N.
Result<std::string> find_snapshot(const std::string& name, const std::string& store_option,
                                  const Service& service);

// A job's name from the name of the command and the pid: "python3-1234"; characters that a job's name cannot
// have become '_'.
std::string default_job_name(std::string_view command, Pid pid);
// Absolute, without "." and "..": from the working directory.
Result<std::string> absolute_path(const std::string& path);

}  // namespace crs
