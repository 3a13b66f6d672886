// SPDX-License-Identifier: Apache-2.0
// ELF files: the headers of programs and shared objects, as far as somebody who will not load them needs
// them.
//
// What this file knows
//   No number of the file is believed: what cannot be read is absent.
//
// Kernel interfaces: elf(5).
#pragma once

#include <elf.h>

#include <optional>
#include <string>
#include <vector>

namespace crs {

// nullopt: it is no 64-bit ELF file. `fd` is borrowed and keeps its offset, here and below.
std::optional<Elf64_Ehdr> read_elf_header(int fd);

// nullopt: the file ends before they do, or they have another size than they should.
std::optional<std::vector<Elf64_Phdr>> read_program_headers(int fd, const Elf64_Ehdr& header);

// The program interpreter (PT_INTERP); nullopt: there is none.
std::optional<std::string> read_interpreter(int fd, const Elf64_Ehdr& header);

}  // namespace crs
