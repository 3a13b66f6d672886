// SPDX-License-Identifier: Apache-2.0
// waiting CALL: waits 4 seconds in poll, nanosleep or epoll_wait, or without end in sigsuspend, read or "read
// again" (a read whose handler asks for SA_RESTART), and prints what came of it. Its handler of SIGUSR1
// prints "handler".
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string_view>

static void handle(int) {
  (void)!write(1, "handler\n", 8);
}

int main(int, char** argv) {
  const std::string_view call = argv[1];
  struct sigaction action {};
  action.sa_handler = handle;
  if (call == "read again") action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  int ends[2];
  if (pipe(ends) != 0) return 2;
  const int poller = epoll_create1(0);
  (void)!write(1, "up\n", 3);
  timespec rest{4, 0};
  sigset_t none;
  sigemptyset(&none);
  epoll_event found{};
  char text = 0;
  long result = -2;
  if (call == "poll") result = poll(nullptr, 0, 4000);
  if (call == "nanosleep") result = nanosleep(&rest, &rest);
  if (call == "epoll_wait") result = epoll_wait(poller, &found, 1, 4000);
  if (call == "sigsuspend") result = sigsuspend(&none);
  if (call.starts_with("read")) result = read(ends[0], &text, 1);
  std::printf("%ld %s\n", result, result < 0 ? std::strerror(errno) : "");
  return 0;
}
