// SPDX-License-Identifier: Apache-2.0
// stepped normal|alternate: single-steps into the vdso's clock_gettime. In the middle of it a signal handler,
// on the stack of that name, writes "inside" to stdout and goes on when there is a file "go". Then main
// writes "done"; exit status 0 when the clock was right.
#include <sys/auxv.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>

namespace {

constexpr unsigned long trap_flag = 0x100;
constexpr int steps_inside = 12;  // behind the entry, before the end

volatile uintptr_t vdso;
volatile int steps;
alignas(16) char other_stack[1 << 16];

void step(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto at = static_cast<uintptr_t>(registers[REG_RIP]);
  if (at < vdso || at >= vdso + 0x2000) return;
  steps = steps + 1;
  if (steps != steps_inside) return;
  registers[REG_EFL] &= ~static_cast<long long>(trap_flag);
  if (write(STDOUT_FILENO, "inside\n", 7) != 7) _exit(3);
  const struct timespec pause = {0, 20'000'000};
  while (access("go", F_OK) != 0) nanosleep(&pause, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  vdso = getauxval(AT_SYSINFO_EHDR);
  const bool alternate = strcmp(argv[1], "alternate") == 0;
  const stack_t stack = {other_stack, 0, sizeof other_stack};
  if (alternate && sigaltstack(&stack, nullptr) != 0) return 4;
  struct sigaction action = {};
  action.sa_sigaction = step;
  action.sa_flags = SA_SIGINFO | (alternate ? SA_ONSTACK : 0);
  if (sigaction(SIGTRAP, &action, nullptr) != 0) return 4;

  struct timespec before = {}, stepped = {}, after = {};
  clock_gettime(CLOCK_MONOTONIC, &before);
  asm volatile("pushfq\n orq %0, (%%rsp)\n popfq" ::"i"(trap_flag) : "memory", "cc");
  clock_gettime(CLOCK_MONOTONIC, &stepped);
  clock_gettime(CLOCK_MONOTONIC, &after);
  if (steps < steps_inside) return 5;
  const bool ascending = before.tv_sec <= stepped.tv_sec && stepped.tv_sec <= after.tv_sec;
  if (!ascending || write(STDOUT_FILENO, "done\n", 5) != 5) return 6;
  return 0;
}
