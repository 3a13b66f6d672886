// SPDX-License-Identifier: Apache-2.0
// Progress: a bar with rate and remaining time on a terminal, for operations that take long enough to see it.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "cli/report.h"
#include "service/component.h"

namespace crs {

// Shows nothing in the first half second, nothing when stderr is no terminal or when quiet, and leaves
// nothing on the screen at its end. Notes are kept until finish(), so that they do not cut through the bar.
class Progress : public Observer {
 public:
  Progress(const Report& report, bool quiet);
  ~Progress() override;

  void phase(std::string_view name) override;
  void progress(std::uint64_t done, std::uint64_t total) override;
  void note(std::string_view text) override;
  void delayed(std::string_view text) override;
  void tell(std::string_view line) override;

  // Takes the bar away and shows the notes; returns them.
  std::vector<std::string> finish();
  const std::string& last_phase() const { return phase_; }

 private:
  void erase();
  using Clock = std::chrono::steady_clock;
  const Report& report_;
  bool enabled_;
  bool shown_ = false;
  std::string phase_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point phase_started_ = Clock::now();
  Clock::time_point drawn_{};
  std::vector<std::string> notes_;
};

// "[=====>    ]  50%  512 MiB of 1.0 GiB  1.2 GiB/s  0.4 s left"
std::string progress_line(std::uint64_t done, std::uint64_t total, std::chrono::nanoseconds elapsed);

}  // namespace crs
