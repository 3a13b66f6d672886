#include "tests/target.h"

// /proc/self/NAME as the process itself reads it, hashed (FNV-1a), so that nothing large stays in memory.
static unsigned long hash_of(const char* path) {
  unsigned long hash = 14695981039346656037ul;
  for (const char* c = read_text(path); *c != 0; c++)
    hash = (hash ^ static_cast<unsigned char>(*c)) * 1099511628211ul;
  return hash;
}

static unsigned long hash_of_link(const char* path) {
  char text[4096] = {};
  OK(readlink(path, text, sizeof text - 1));
  unsigned long hash = 14695981039346656037ul;
  for (const char* c = text; *c != 0; c++) hash = (hash ^ static_cast<unsigned char>(*c)) * 1099511628211ul;
  return hash;
}

TARGET() {
  pid_t pid = getpid();
  hash_of("/proc/self/maps");  // the stack has grown as far as it will
  const char* files[] = {"/proc/self/maps", "/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv",
                         "/proc/self/comm"};
  const char* links[] = {"/proc/self/exe", "/proc/self/cwd", "/proc/self/root"};
  unsigned long before[8];
  for (int i = 0; i < 5; i++) before[i] = hash_of(files[i]);
  for (int i = 0; i < 3; i++) before[5 + i] = hash_of_link(links[i]);
  char maps[65536];
  strncpy(maps, read_text("/proc/self/maps"), sizeof maps - 1);
  before[0] = hash_of(files[0]);

  checkpoint_here();

  EXPECT_EQ(syscall(SYS_getpid), pid);
  EXPECT_EQ(syscall(SYS_gettid), pid);
  for (int i = 0; i < 5; i++) {
    if (hash_of(files[i]) != before[i]) fprintf(stderr, "%s:\n%s", files[i], read_text(files[i]));
    if (i == 0 && hash_of(files[0]) != before[0]) fprintf(stderr, "before:\n%s", maps);
    EXPECT_EQ(hash_of(files[i]), before[i]);
  }
  for (int i = 0; i < 3; i++) EXPECT_EQ(hash_of_link(links[i]), before[5 + i]);
}
