// SPDX-License-Identifier: Apache-2.0
// File content: whether a file holds what it held at the checkpoint.
//
// What this file knows
//   Size and mtime do not tell: cp -p, rsync -t and whoever sets clamped times give another file both of
//   them. So some of the content is remembered. A file of at most whole_file bytes is read whole; of a longer
//   one the first and the last part, since who rewrites a file begins at its start, and who goes on ends at
//   its end. The process stands still meanwhile, so only what is in the page cache is read (RWF_NOWAIT), of
//   the rest no more than two pages, and all files of a checkpoint share one Allowance. A program or library
//   is known by its build id, which its linker made from its content. What is not seen: a change in the
//   middle of a long file; in a program or library, one that was made by hand and keeps build id, first and
//   last page.
//
// Kernel interfaces: preadv2(2) RWF_NOWAIT; elf(5).
#pragma once

#include <cstdint>

#include "engine/file_content.pb.h"
#include "os/result.h"

namespace crs {

// Bytes that one checkpoint may still read.
struct Allowance {
  std::uint64_t bytes = 8u << 20;
};

// --- Checkpoint. `fd` is open for reading. What cannot be read is left out.
state::FileContent content_of_file(int fd, std::uint64_t size, Allowance& allowance);
state::FileContent content_of_mapped_file(int fd, std::uint64_t size);

// --- Restart.
// What was read from somebody else's snapshot: errors: bad_snapshot.
Status check_content(const state::FileContent& content, std::uint64_t size);

enum class Sameness : std::uint8_t {
  same,     // every byte of then is there
  similar,  // whatever is remembered is there
  unknown,  // nothing is remembered, or it cannot be read
  changed,
};
// Of the bytes that it had then; whether it is longer now is another question.
Sameness compare_content(const state::FileContent& content, int fd);

}  // namespace crs
