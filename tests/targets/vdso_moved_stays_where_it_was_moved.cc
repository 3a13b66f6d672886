// flags: -static
#include "tests/target.h"

#include <elf.h>
#include <sys/auxv.h>

using ClockGettime = int (*)(clockid_t, struct timespec*);

// The vdso's __vdso_clock_gettime, found in its dynamic symbols.
static uintptr_t clock_gettime_offset(const char* image) {
  auto* header = reinterpret_cast<const Elf64_Ehdr*>(image);
  auto* segments = reinterpret_cast<const Elf64_Phdr*>(image + header->e_phoff);
  const Elf64_Dyn* dynamic = nullptr;
  uintptr_t base = 0;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segments[i].p_type == PT_LOAD) base = segments[i].p_vaddr - segments[i].p_offset;
    if (segments[i].p_type == PT_DYNAMIC)
      dynamic = reinterpret_cast<const Elf64_Dyn*>(image + segments[i].p_offset);
  }
  if (dynamic == nullptr) FATAL("the vdso has no dynamic section");
  const Elf64_Sym* symbols = nullptr;
  const char* names = nullptr;
  for (; dynamic->d_tag != DT_NULL; dynamic++) {
    if (dynamic->d_tag == DT_SYMTAB)
      symbols = reinterpret_cast<const Elf64_Sym*>(image + dynamic->d_un.d_ptr - base);
    if (dynamic->d_tag == DT_STRTAB) names = image + dynamic->d_un.d_ptr - base;
  }
  if (symbols == nullptr || names == nullptr) FATAL("the vdso has no symbols");
  for (int i = 0; i < 64; i++) {
    if (strcmp(names + symbols[i].st_name, "__vdso_clock_gettime") == 0) return symbols[i].st_value - base;
  }
  FATAL("no __vdso_clock_gettime");
}

TARGET() {
  auto* image = reinterpret_cast<char*>(getauxval(AT_SYSINFO_EHDR));
  uintptr_t offset = clock_gettime_offset(image);
  // All of [vvar...][vdso] is one block; it moves as a whole, since its code reaches its data by distance.
  unsigned long first = 0;
  unsigned long end = 0;
  const char* maps = read_text("/proc/self/maps");
  while (*maps != 0) {
    unsigned long from = 0;
    unsigned long to = 0;
    const char* newline = strchr(maps, '\n');
    const char* name = strstr(maps, "[v");
    if (name != nullptr && name < newline && strncmp(name, "[vsyscall]", 10) != 0) {
      sscanf(maps, "%lx-%lx", &from, &to);
      if (first == 0) first = from;
      end = to;
    }
    maps = newline + 1;
  }
  auto* room = static_cast<char*>(
      OK(mmap(nullptr, (end - first) + (64u << 20), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  OK(munmap(room, (end - first) + (64u << 20)));
  char* to = room + (32u << 20);
  // Mappings move one at a time: mremap(2) does not span several.
  maps = read_text("/proc/self/maps");
  while (*maps != 0) {
    unsigned long start = 0;
    unsigned long stop = 0;
    const char* newline = strchr(maps, '\n');
    const char* name = strstr(maps, "[v");
    if (name != nullptr && name < newline && strncmp(name, "[vsyscall]", 10) != 0) {
      sscanf(maps, "%lx-%lx", &start, &stop);
      OK(syscall(SYS_mremap, start, stop - start, stop - start, MREMAP_MAYMOVE | MREMAP_FIXED,
                 to + (start - first)));
    }
    maps = newline + 1;
  }
  char* moved = to + (reinterpret_cast<unsigned long>(image) - first);
  ClockGettime ask = nullptr;
  uintptr_t address = reinterpret_cast<uintptr_t>(moved) + offset;
  memcpy(&ask, &address, sizeof ask);
  struct timespec before = {};
  if (ask(CLOCK_MONOTONIC, &before) != 0) FATAL("the moved vdso does not work");

  checkpoint_here();

  struct timespec after = {};
  struct timespec kernel = {};
  EXPECT_EQ(ask(CLOCK_MONOTONIC, &after), 0);
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &kernel);
  EXPECT_GE(after.tv_sec, before.tv_sec);
  EXPECT_LE(kernel.tv_sec - after.tv_sec, 1);
}
