// SPDX-License-Identifier: Apache-2.0
#include "cli/event_lines.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>

namespace crs {
namespace {

constexpr std::chrono::milliseconds between_progress{100};
constexpr std::size_t longest_text = 3000;  // as JSON; what else is in a line fits beside it (PIPE_BUF: 4096)

// What one character of UTF-8 takes in a JSON string, at most.
std::size_t json_size(std::string_view character) {
  const auto first = static_cast<unsigned char>(character.front());
  if (first < 0x20 || first == 0x7f) return 6;  // \u001f
  if (first == '"' || first == '\\') return 2;
  return character.size() > 1 ? character.size() : (first < 0x80 ? 1 : 3);  // what is no UTF-8 becomes U+FFFD
}

std::size_t character_size(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t size = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (size > text.size()) return 1;
  for (std::size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0u) != 0x80) return 1;
  }
  return size;
}

// A write to a pipe without reader must not end us.
class WithoutPipeSignal {
 public:
  WithoutPipeSignal() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  WithoutPipeSignal(const WithoutPipeSignal&) = delete;
  WithoutPipeSignal& operator=(const WithoutPipeSignal&) = delete;
  ~WithoutPipeSignal() {
    const timespec at_once{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &at_once);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

}  // namespace

std::string cut_for_json(std::string_view text, std::size_t bytes) {
  std::size_t used = 0, at = 0;
  while (at < text.size()) {
    const std::size_t size = character_size(text.substr(at));
    used += json_size(text.substr(at, size));
    if (used > bytes) break;
    at += size;
  }
  return std::string(text.substr(0, at));
}

Result<EventLines> EventLines::open(int fd, Observer& next) {
  if (fd < 0) return EventLines(OwnedFd(), next);
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
    return Error(Errc::usage, "--events " + std::to_string(fd) + ": this descriptor is not open for writing")
        .with_hint("--events 3 3>FILE");
  }
  // The program that is restored or executed is to have none of it; standard streams stay ours.
  OwnedFd own(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!own) return Error::from_errno(errno, "--events " + std::to_string(fd));
  if (fd > STDERR_FILENO) close(fd);
  return EventLines(std::move(own), next);
}

void EventLines::phase(std::string_view name) {
  write({{"event", "phase"}, {"phase", name}});
  next_->phase(name);
}

void EventLines::progress(std::uint64_t done, std::uint64_t total) {
  if (const auto now = Clock::now(); done == total || now - told_ >= between_progress) {
    told_ = now;
    write({{"event", "progress"}, {"done_bytes", done}, {"total_bytes", total}});
  }
  next_->progress(done, total);
}

void EventLines::note(std::string_view text) {
  write({{"event", "note"}, {"text", cut_for_json(text, longest_text)}});
  next_->note(text);
}

void EventLines::delayed(std::string_view text) {
  write({{"event", "delayed"}, {"text", cut_for_json(text, longest_text)}});
  next_->delayed(text);
}

void EventLines::end(const Error* error) {
  nlohmann::json event{{"event", "end"}, {"exit", error != nullptr ? exit_code(error->code()) : 0}};
  if (error != nullptr) {
    event["code"] = to_string(error->code());
    event["text"] = cut_for_json(error->to_string(), longest_text);
  }
  event["dropped"] = dropped_;
  write(std::move(event));
  fd_.reset();
}

void EventLines::write(nlohmann::json event) {
  if (!fd_) return;
  event["time_ns"] = Clock::now().time_since_epoch().count();
  const std::string line = event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  static_assert(PIPE_BUF >= 4096);
  // A pipe takes so much at once or says that it is not ready.
  pollfd ready{fd_.get(), POLLOUT, 0};
  if (line.size() > PIPE_BUF || poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
    ++dropped_;
    return;
  }
  const WithoutPipeSignal blocked;
  if (::write(fd_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) ++dropped_;
}

}  // namespace crs
