// SPDX-License-Identifier: Apache-2.0
// Page scan: which pages of a mapping hold something of the process's own.
//
// What this file knows
//   PAGEMAP_SCAN (since Linux 6.7) walks page tables and answers ranges; an empty terabyte costs nothing.
//   Kernels without it have /proc/PID/pagemap, 8 bytes a page: slower, and it does not tell the zero page
//   apart. Pages of a private file mapping that were never written are the file's and are not answered. Guard
//   regions (MADV_GUARD_INSTALL, since 6.13) are page table entries of their own, told by PAGE_IS_GUARD where
//   the kernel has it.
//
// Kernel interfaces: proc(5) pagemap, Documentation/admin-guide/mm/pagemap.rst.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/frozen_process.h"
#include "engine/page_ranges.h"
#include "os/result.h"

namespace crs {

class PageScanner {
 public:
  static Result<PageScanner> open(const ProcDir& proc);

  // Pages with contents of the process's own (present or swapped, not the file's, not the zero page),
  // ascending.
  Result<std::vector<PageRange>> own_pages(std::uint64_t start, std::uint64_t end) const;
  Result<bool> has_own_pages(std::uint64_t start, std::uint64_t end) const;  // a look at the first
  // Pages that are present or swapped, files' and zero pages among them: quicker, for who looks closer
  // himself.
  Result<std::vector<PageRange>> populated_pages(std::uint64_t start, std::uint64_t end) const;
  // Pages of guard regions; empty where the kernel cannot tell.
  Result<std::vector<PageRange>> guard_pages(std::uint64_t start, std::uint64_t end) const;

 private:
  explicit PageScanner(OwnedFd pagemap) : pagemap_(std::move(pagemap)) {}
  OwnedFd pagemap_;
};

}  // namespace crs
