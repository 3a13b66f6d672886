// SPDX-License-Identifier: Apache-2.0
// Program: what a file is that somebody is about to start, and whether such a process can be saved later.
//
// What this file knows
//   The kernel runs a script's interpreter in its place, a few levels deep. Who gets other privileges by the
//   file (set-user-id, set-group-id, capabilities) can be traced by root alone, and the dynamic loader lets
//   nobody preload anything into it. Only 64-bit programs for x86_64 can be saved. libcrs can be preloaded
//   into a program that the GNU C library's loader starts; a static one has no loader, another C library's
//   loader cannot load it.
// What it leaves to others
//   What an open file, a socket or a child does to a later checkpoint: `crs check` asks the running process.
//
// Kernel interfaces: execve(2), elf(5), capabilities(7), ld.so(8).
#pragma once

#include <string>

#include "os/result.h"

namespace crs {

// What will really run: `path`, or the interpreter of the script that `path` is.
struct Program {
  std::string path;
  std::string loader;             // its PT_INTERP; empty: static
  std::string why_not_saved;      // by this user; empty: it can be
  std::string why_not_preloaded;  // by this user; empty: libcrs can be
};

// errors: not_found and permission as execve(2) would answer; refused with ENOEXEC for what is neither a
// program nor a script with an interpreter.
Result<Program> look_at_program(const std::string& path);

// An error unless a process of the program can be saved later. errors: refused.
Status check_savable(const Program& program);

}  // namespace crs
