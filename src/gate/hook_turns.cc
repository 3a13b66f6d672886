// SPDX-License-Identifier: Apache-2.0
#include "gate/hook_turns.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <thread>

#include "gate/program_text.h"
#include "os/futex.h"
#include "os/proc.h"

namespace crs {
namespace {

constexpr auto patience = std::chrono::milliseconds(500);  // before the user is told
constexpr const char* limit_hint = "parameter service.hook_limit says how long they may take";

// Whether the process still has the page: a program that it executed since knows nothing of it.
bool has_page(const ProcDir& proc) {
  const auto maps = proc.read("maps");
  return maps && maps->find(std::string("/memfd:") + control_name) != std::string::npos;
}

}  // namespace

void HookTurns::ask(Turn turn) {
  page_->turn.store(static_cast<std::uint32_t>(turn));
  wake_all(page_->turn);
}

Status HookTurns::check_alive(const Deadline& deadline) const {
  CRS_CHECK(deadline.check("the process was running its hooks"));
  pollfd ended{pidfd_, POLLIN, 0};
  if (poll(&ended, 1, 0) == 1)
    return Error(Errc::target_gone, to_string(pid_) + " ended in one of its hooks");
  CRS_TRY(const ProcDir proc, ProcDir::open(pid_));
  if (!has_page(proc))
    return Error(Errc::target_gone, to_string(pid_) + " executed another program in one of its hooks");
  CRS_TRY(const auto stat, proc.stat());
  if (stat.state == 'T') {
    return Error(Errc::refused, to_string(pid_) + " is stopped, so that it cannot run its hooks")
        .with_hint("let it go on first: kill -CONT " + std::to_string(pid_.v));
  }
  return ok();
}

Result<Turn> HookTurns::await_answer(Turn asked, const Deadline& deadline, std::chrono::seconds limit) {
  const auto since = Clock::now();
  constexpr timespec interval{0, 20'000'000};
  for (;;) {
    const Turn now = turn_of(*page_);
    if (now != asked) return now;
    CRS_CHECK(check_alive(deadline));
    if (limit.count() != 0 && Clock::now() - since > limit) {
      return Error(Errc::timeout,
                   "the process has been running its hooks for " + std::to_string(limit.count()) + " seconds")
          .with_hint(limit_hint);
    }
    sleep_while(page_->turn, static_cast<std::uint32_t>(asked), &interval);
  }
}

Status HookTurns::await_idle(const Deadline& deadline, std::chrono::seconds limit) {
  for (Turn now = turn_of(*page_); now != Turn::idle;) {
    // We hold the lock, so whoever asked for one of these is dead.
    if (now == Turn::prepared) {
      ask(now = Turn::failed);
    } else if (now == Turn::refused || now == Turn::stalled) {
      ask(now = Turn::idle);
    } else {
      CRS_TRY(now, await_answer(now, deadline, limit));
    }
  }
  return ok();
}

Status HookTurns::prepare(const Deadline& deadline, std::chrono::seconds limit,
                          const std::function<void(std::string)>& tell) {
  if (!has_hooks() || page_->session.load() != 0) return ok();
  CRS_CHECK(await_idle(deadline, limit));
  const auto since = Clock::now();
  stage_ = Stage::asked;
  for (;;) {
    const std::uint32_t ready = page_->ready.load();
    ask(Turn::prepare);
    CRS_TRY(const Turn answer, await_answer(Turn::prepare, deadline, limit));
    if (answer == Turn::prepared) return ok();
    if (answer == Turn::refused) {
      return Error(Errc::refused, program_text(page_->message))
          .with_hint("the program decides that; try again later");
    }
    bool told = false;
    while (page_->ready.load() == ready) {
      CRS_CHECK(check_alive(deadline));
      if (limit.count() != 0 && Clock::now() - since > limit) {
        return Error(Errc::timeout, "a hook of the program has not been ready for " +
                                        std::to_string(limit.count()) + " seconds")
            .with_hint(limit_hint);
      }
      if (!told && Clock::now() - since > patience) {
        tell("the checkpoint is delayed by a hook of the program, which is not ready yet");
        told = true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
}

void HookTurns::captured() {
  if (stage_ != Stage::asked) return;
  stage_ = Stage::captured;
  ask(Turn::captured);
}

void HookTurns::failed() {
  if (stage_ == Stage::untouched) return;
  stage_ = Stage::untouched;
  // Who refused has told its hooks already.
  if (const Turn now = turn_of(*page_); now != Turn::refused && now != Turn::stalled) {
    ask(Turn::failed);
  } else {
    ask(Turn::idle);
  }
}

Status HookTurns::end(const Deadline& deadline, std::chrono::seconds limit) {
  if (stage_ != Stage::asked) return ok();
  stage_ = Stage::untouched;
  ask(Turn::ending);
  CRS_CHECK(await_answer(Turn::ending, deadline, limit));
  return ok();
}

}  // namespace crs
