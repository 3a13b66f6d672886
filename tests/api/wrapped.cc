// SPDX-License-Identifier: Apache-2.0
// wrapped FOLDER: the C++ interface. Saves itself to FOLDER/1 from a second service, out of a critical
// section, and writes how that ended; then it goes back once to a save point. A misspelled parameter of the
// first service is no matter of the second.
#include <crs/service.h>

#include <cstdio>
#include <string>

namespace api = crs::api;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const api::Participation participation;
  if (participation.error()) return 3;
  api::Service wrong, right;
  api::Snapshot snapshot, opened;
  if (wrong.set_parameter("native.worker", "1")) return 4;
  const api::Outcome failed = wrong.checkpoint(0, snapshot);
  if (failed.error().code() != CRS_ERR_USAGE || failed.state() != CRS_ERROR || failed.error().hint().empty())
    return 5;
  {
    const api::CriticalSection section("not now");
    if (right.checkpoint(0, snapshot).error().code() != CRS_ERR_USAGE) return 6;
  }
  const std::string folder = std::string(argv[1]) + "/1";
  if (snapshot.set_directory(folder)) return 7;
  const api::Outcome outcome = right.checkpoint(0, snapshot);
  if (outcome.error()) {
    std::printf("%s\n", outcome.error().message().c_str());
    return 8;
  }
  if (snapshot.directory() != folder || snapshot.component() != "native" || snapshot.cold_start()) return 9;
  if (api::Snapshot::open(folder, opened) || !opened.cold_start() || opened.pid() != snapshot.pid())
    return 10;
  std::printf("%s\n", outcome.restarted() ? "restarted" : outcome.continued() ? "continued" : "neither");
  std::fflush(stdout);
  api::SavePoint point;
  const api::Outcome tried = api::SavePoint::create(point);
  if (tried.continued()) {
    std::printf("%s\n", point.rollback().message().c_str());
    return 12;
  }
  if (!tried.restarted() || point.release()) return 13;
  return right.state() == CRS_RUNNING ? 0 : 11;
}
