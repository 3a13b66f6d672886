// SPDX-License-Identifier: Apache-2.0
// Memory keeper: a process that does nothing but hold another's memory as it was.
//
// What this file knows
//   A fork shares every private page with its parent until one of them writes to it. So a frozen process is
//   made to fork a keeper (by way of one that ends at once, so that it is nobody's child here), which closes
//   all descriptors, leaves the session, unmaps what is shared, and sleeps until the process ends. It costs
//   page tables, and later a copy of each page that the process writes. What a fork does not share is not
//   kept: shared mappings, and those that are not for children (MADV_DONTFORK, MADV_WIPEONFORK).
//   A keeper that nobody told to stay ends by itself after a minute.
// What it leaves to others
//   Everything of a process but its private memory.
//
// Kernel interfaces: clone(2), pidfd_open(2), process_vm_readv(2), proc(5) pagemap.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "engine/frozen_process.h"
#include "engine/memory_map.h"
#include "engine/page_filler.h"
#include "engine/page_scan.h"
#include "os/deadline.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "store/manifest.h"

namespace crs {

class MemoryKeeper {
 public:
  // Whether it can hold what this mapping has of its own.
  static bool can_hold(const state::Mapping& mapping);

  // Of a frozen process. It ends with this object, unless release() was called. errors: refused (why this
  // process can have none; it is as it was), what make_remote_calls() answers.
  static Result<MemoryKeeper> create(FrozenProcess& target, Deadline deadline);
  // The one that a snapshot names; nullopt: its memory is in the snapshot. errors: not_found (it has ended),
  // bad_snapshot.
  static Result<std::optional<MemoryKeeper>> find(const store::Manifest& manifest);

  MemoryKeeper(MemoryKeeper&&) noexcept = default;
  MemoryKeeper& operator=(MemoryKeeper&&) = delete;
  ~MemoryKeeper();

  // From now on it lives as long as the process does, with us or without. errors: target_gone.
  Status stay();
  void release() { owned_ = false; }
  // What find() needs, for the manifest.
  void describe(store::Manifest& manifest) const;

  // Pages that the process had of its own, ascending.
  Result<std::vector<PageRange>> own_pages(std::uint64_t start, std::uint64_t end) const;
  // Those that are present or swapped, whatever they are.
  Result<std::vector<PageRange>> populated_pages(std::uint64_t start, std::uint64_t end) const;
  // Exactly out.size() bytes. Any thread may call it.
  Status read(std::uint64_t from, std::span<std::byte> out) const;
  // The same from several places (at most IOV_MAX), one after the other.
  Status read(std::span<const iovec> from, std::span<std::byte> out) const;
  // Copies all own pages of `targets` (of space 0), by several threads. errors: target_gone, timeout.
  Status fill(std::span<const FillTarget> targets, unsigned workers, Deadline deadline) const;
  // That it was there until now: what was read before is what it held. errors: target_gone.
  Status check() const;
  const ProcDir& proc() const { return proc_; }

 private:
  MemoryKeeper(Pid pid, std::uint64_t started, ProcDir proc, PageScanner scanner, OwnedFd memory)
      : pid_(pid),
        started_(started),
        proc_(std::move(proc)),
        scanner_(std::move(scanner)),
        memory_(std::move(memory)) {}
  Status await_ready(RemoteAddr parameters, Deadline deadline) const;
  static Result<MemoryKeeper> open(Pid pid, std::optional<std::uint64_t> started);

  Pid pid_;
  std::uint64_t started_ = 0;  // field 22 of /proc/PID/stat, ticks
  ProcDir proc_;
  PageScanner scanner_;
  OwnedFd memory_;  // /proc/PID/mem; opened where it was just made, to tell it to stay
  RemoteAddr limit_{};
  bool owned_ = false;
};

}  // namespace crs
