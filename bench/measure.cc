// SPDX-License-Identifier: Apache-2.0
// measure: runs a command and tells its time and peak memory.
//
// usage: measure RESULT_FILE COMMAND [ARGUMENT...]
//
// What this file knows
//   ru_maxrss of a process counts what it was before execve(2) as well (setmax_mm_hiwater_rss in the kernel's
//   exec_mmap), so a command started by Python seems to need Python's memory. Started from here it seems to
//   need at least ours, which is a megabyte. wait4(2) tells the largest of the command and of its children
//   that it waited for. Times are CLOCK_REALTIME, which other programs can compare with theirs, in whatever
//   time namespace they are.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

long long now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: measure RESULT_FILE COMMAND [ARGUMENT...]\n");
    return 2;
  }
  const long long start = now();
  const pid_t child = fork();
  if (child == 0) {
    execvp(argv[2], argv + 2);
    std::perror(argv[2]);
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (child < 0 || wait4(child, &status, 0, &usage) != child) {
    std::perror("measure");
    return 1;
  }
  const long long end = now();
  std::FILE* result = std::fopen(argv[1], "w");
  if (result == nullptr) {
    std::perror(argv[1]);
    return 1;
  }
  std::fprintf(result, "{\"start_ns\": %lld, \"end_ns\": %lld, \"peak_bytes\": %lld}\n", start, end,
               static_cast<long long>(usage.ru_maxrss) * 1024);
  std::fclose(result);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
