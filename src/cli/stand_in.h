// SPDX-License-Identifier: Apache-2.0
// StandIn: crs in the place of the program that it started or restarted.
//
// What this file knows
//   Signals that arrive here go to the program, its end becomes our end, its job control becomes ours. Who
//   started crs (a shell, a batch system) need not know that the program is one process further down. A
//   signal that the terminal made (si_code SI_KERNEL) went to the whole foreground process group: a program
//   in our own group has it already. One that somebody sent (kill -TERM to us) did not reach it, and is
//   passed on. A program that leads a process group of its own gets the terminal while it runs
//   (tcsetpgrp(3)), as a shell would give it.
// What it leaves to others
//   A signal sent with kill(2) to our whole group cannot be told from one sent to us alone: a program in our
//   group may see it twice.
//
// Kernel interfaces: sigwaitinfo(2), waitpid(2), termios(3), tcsetpgrp(3), credentials(7).
#pragma once

#include <termios.h>
#include <csignal>
#include <cstdint>
#include <optional>

#include "cli/interrupt.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "service/component.h"

namespace crs {

// What becomes of the terminal's settings when the program has ended: a program that was killed once left
// them as they were in its middle; one that ran from its beginning may be there to change them (stty).
enum class TerminalSettings : std::uint8_t { put_back, put_back_after_a_signal };

// Made before the program runs, in main's thread.
class StandIn {
 public:
  explicit StandIn(TerminalSettings settings);
  ~StandIn();
  StandIn(const StandIn&) = delete;
  StandIn& operator=(const StandIn&) = delete;

  bool had_terminal() const { return had_terminal_; }  // our group was in the foreground at the start
  // Until the program ends. A signal that `interrupt` caught before it ran, it gets first.
  // Returns the exit status; does not return when the program died of a signal, since then this process does
  // the same.
  int stand_for(RestartInfo program, const InterruptGuard& interrupt);

 private:
  void give_terminal();
  void take_terminal();
  void pass_on(const siginfo_t& info);
  void stop_with(int signal);
  void on_stop(int signal);
  std::optional<int> next_change();  // the wait status of a stop or of the end
  bool program_is_stopped() const;
  bool same_group() const;
  int end(int wait_status);

  RestartInfo program_;
  OwnedFd terminal_;              // /dev/tty, if there is one
  std::optional<termios> modes_;  // of the terminal at the start, if we had it
  TerminalSettings settings_;
  pid_t own_group_ = 0;
  bool had_terminal_ = false;   // our group was in the foreground at the start
  bool lent_ = false;           // the program's group has it now
  bool typed_by_hand_ = false;  // standard input is a terminal
};

}  // namespace crs
