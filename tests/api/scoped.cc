// SPDX-License-Identifier: Apache-2.0
// scoped FOLDER: the scoped objects of crs/hooks.h. Saves itself to FOLDER/1 with a hook, which is then gone,
// to FOLDER/2 in a quiesce session, and is refused by a hook that throws. Prints the phases that the first
// hook saw.
#include <crs/hooks.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace api = crs::api;

namespace {

const char* const names[] = {"PREPARE",     "PRE_IMAGE", "POST_IMAGE", "CONTINUE",
                             "RESTART_PRE", "RESTART",   "ERROR",      "TERM"};

api::Outcome save(const std::string& path) {
  api::Service service;
  api::Snapshot snapshot;
  if (snapshot.set_directory(path)) return api::Outcome(CRS_ERROR, api::Error());
  return service.checkpoint(0, snapshot);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  {
    const api::Hook early("too early", 0, [](crs_phase) { return CRS_HOOK_OK; });
    const api::QuiesceSession session;
    if (early.error().code() != CRS_ERR_NOT_READY || session.error().code() != CRS_ERR_NOT_READY) return 3;
  }
  const api::Participation participation;
  if (participation.error()) return 4;

  std::string seen;
  {
    api::Hook hook = api::Hook::that_never_refuses(
        "watcher", 1, [&seen](crs_phase phase) { seen += std::string(" ") + names[phase]; });
    const api::Hook moved = std::move(hook);
    if (moved.error() || moved.id() == 0 || hook.id() != 0) return 5;  // NOLINT: what is left is looked at
    const api::Outcome outcome = save(folder + "/1");
    if (!outcome.continued() && !outcome.restarted()) return 6;
    std::printf("%s:%s\n", outcome.continued() ? "continued" : "restarted", seen.c_str());
    std::fflush(stdout);
    if (outcome.restarted()) return 0;

    api::QuiesceSession session(std::chrono::seconds(60));
    if (session.error() || session.token() == 0) return 7;
    if (api::QuiesceSession(std::chrono::seconds(1)).error().code() != CRS_ERR_BUSY) return 8;
    seen.clear();
    if (!save(folder + "/2").continued() || !seen.empty()) return 9;
    if (session.end() || seen != " POST_IMAGE CONTINUE" || session.end()) return 10;
  }
  seen.clear();
  {
    const api::Hook thrower("thrower", 1, [](crs_phase phase) -> int {
      if (phase == CRS_PHASE_PREPARE) throw std::runtime_error("no");
      return CRS_HOOK_OK;
    });
    const api::Outcome refused = save(folder + "/3");
    if (refused.error().code() != CRS_ERR_REFUSED) return 11;
    if (refused.error().message().find("thrower") == std::string::npos) return 12;
  }
  if (!seen.empty()) return 13;  // the first hook is gone

  std::vector<double> field(100);
  long step = 0;
  {
    api::SelfState state;
    if (state.protect("field", field) || state.protect("step", step)) return 14;
    if (state.protect("step", &step, 1).code() != CRS_ERR_USAGE) return 15;
    bool restarted = true;
    if (api::SelfState::restore(restarted) || restarted) return 16;
  }
  if (crs_self_unprotect("field") != CRS_ERR_USAGE) return 17;  // it was taken away
  return 0;
}
