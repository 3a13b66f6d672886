// SPDX-License-Identifier: Apache-2.0
// Signal handlers may enter and leave critical sections, wherever they interrupt a thread that does the same.
//
// The thread steps through entering and leaving (the processor's trap flag), and at each instruction in turn
// the handler has a checkpointer come, which waits for the sections or closes the gate, and enters and leaves
// a section itself. Whoever waits for something that only the interrupted thread can end, waits for ever:
// then the alarm clock ends the test.
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "agent/critical_sections.h"
#include "gate/gate.h"

namespace {

namespace agent = crs::agent;

constexpr unsigned long long trap_flag = 0x100;
constexpr unsigned most_instructions = 20'000;

enum class Wish { nothing, wait, close, end };
std::atomic<Wish> wish{Wish::nothing};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::_Exit(1);
}

void be_checkpointer() {
  for (;;) {
    const Wish now = wish.load();
    if (now == Wish::end) return;
    if (now == Wish::nothing) {
      std::this_thread::yield();
      continue;
    }
    auto gate = crs::Gate::find(crs::Pid(getpid()));
    if (!gate || !*gate) fail("there is no gate");
    const auto ignored = [](const std::string&) {};
    const auto done = now == Wish::close ? (*gate)->close(crs::Deadline::never(), ignored)
                                         : (*gate)->await_open(crs::Deadline::never(), ignored);
    if (!done || !(*gate)->is_open()) fail("the gate is not open");
    (*gate)->release();
    wish.store(Wish::nothing);
  }
}

void await_checkpointer() {
  while (wish.load() != Wish::nothing) std::this_thread::yield();
}

unsigned instruction = 0, chosen = 0;
Wish chosen_wish = Wish::nothing;
bool has_acted = false;

void on_trap(int, siginfo_t*, void* context) {
  if (instruction++ != chosen) return;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~static_cast<greg_t>(trap_flag);
  has_acted = true;
  const auto& word = agent::control_page()->gate;
  wish.store(chosen_wish);
  while (wish.load() == chosen_wish && crs::gate_word::round(word.load()) == 0) std::this_thread::yield();
  if (chosen_wish == Wish::close) {
    while (wish.load() == chosen_wish && !crs::gate_word::is_closed(word.load())) std::this_thread::yield();
  }
  agent::enter("handler");
  agent::leave();
}

// false: it has no instruction with this number.
template <class Work>
bool interrupt(unsigned number, Wish by, Work&& work) {
  instruction = 0;
  chosen = number;
  chosen_wish = by;
  has_acted = false;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the handler finds what was just set
  __writeeflags(__readeflags() | trap_flag);
  work();
  __writeeflags(__readeflags() & ~trap_flag);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return has_acted;
}

template <class Before, class Work, class After>
void interrupt_everywhere(const char* name, Before&& before, Work&& work, After&& after) {
  for (const Wish by : {Wish::wait, Wish::close}) {
    unsigned number = 0;
    bool goes_on = true;
    for (; goes_on && number < most_instructions; ++number) {
      before();
      goes_on = interrupt(number, by, work);
      after();
      await_checkpointer();
      if (agent::is_inside() || agent::is_anybody_inside()) fail(name);
    }
    if (number < 10) fail("nothing was interrupted");
  }
}

}  // namespace

int main() {
  alarm(280);
  if (!agent::join()) fail("join");
  struct sigaction action {};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, nullptr);
  std::thread checkpointer(be_checkpointer);
  agent::enter("first");  // what is done only once is done
  agent::leave();

  const auto nothing = [] {};
  const auto enter = [] { agent::enter("interrupted"); };
  const auto leave = [] { agent::leave(); };
  bool entered = false;
  interrupt_everywhere("enter", nothing, enter, leave);
  interrupt_everywhere("leave", enter, leave, nothing);
  interrupt_everywhere(
      "try to enter", nothing, [&] { entered = agent::try_enter(); },
      [&] {
        if (entered) agent::leave();
      });
  wish.store(Wish::end);
  checkpointer.join();
  std::puts("well");
  std::fflush(stdout);
  std::_Exit(0);
}
