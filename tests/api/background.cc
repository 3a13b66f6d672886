// SPDX-License-Identifier: Apache-2.0
// background FOLDER: operations by the C++ interface. Has itself saved to FOLDER/1 and goes on meanwhile,
// cancels one, and writes how they ended.
#include <crs/operation.h>

#include <cstdio>
#include <string>

namespace api = crs::api;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const api::Participation participation;
  api::Service service;
  api::Snapshot snapshot, other;
  if (snapshot.set_directory(std::string(argv[1]) + "/1") || other.set_directory(std::string(argv[1]) + "/2"))
    return 3;
  api::Operation first, second;
  {
    const api::CriticalSection section("a moment");
    if (api::Operation::checkpoint(service, 0, snapshot, first)) return 4;
    if (api::Operation::checkpoint(service, 0, other, second)) return 5;
    if (first.wait(std::chrono::milliseconds(10)).error().code() != CRS_ERR_BUSY) return 6;
    if (second.cancel() || second.wait().error().code() != CRS_ERR_CANCELLED) return 7;
    if (second.progress().phase != "ended" || first.fd() < 0) return 8;
  }
  const api::Outcome outcome = first.wait();
  if (outcome.error()) {
    std::printf("%s\n", outcome.error().message().c_str());
    return 9;
  }
  std::printf("%s\n", outcome.restarted() ? "restarted" : outcome.continued() ? "continued" : "neither");
  std::fflush(stdout);
  second = api::Operation();
  return 0;
}
