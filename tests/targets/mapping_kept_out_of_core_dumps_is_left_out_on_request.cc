// checkpoint-args: --skip-dontdump
// notes: although MADV_DONTDUMP
#include "tests/target.h"

#include <initializer_list>

// When the process was made, which a restart makes anew.
static unsigned long long start_time() {
  const char* text = strrchr(read_text("/proc/self/stat"), ')');
  unsigned long long value = 0;
  sscanf(text, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &value);
  return value;
}

static char* map(int protection, int flags, int fd) {
  auto* bytes =
      static_cast<char*>(OK(mmap(nullptr, 6 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  return static_cast<char*>(OK(mmap(bytes + 4096, 4 * 4096, protection, flags | MAP_FIXED, fd, 0)));
}

TARGET() {
  constexpr int both = PROT_READ | PROT_WRITE;
  constexpr size_t size = 4 * 4096;
  char* plain = map(both, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* left_out = map(both, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* locked = map(both, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* read_only = map(both, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* shared = map(both, MAP_SHARED | MAP_ANONYMOUS, -1);
  int fd = OK(open("file", O_RDWR | O_CREAT, 0600));
  for (size_t i = 0; i < size; i++) OK(write(fd, "f", 1));
  char* of_file = map(both, MAP_PRIVATE, fd);
  char* to_file = map(both, MAP_SHARED, fd);
  for (char* bytes : {plain, left_out, locked, read_only, shared, of_file}) memset(bytes, 'x', size);
  memset(to_file, 'w', 1);
  for (char* bytes : {left_out, locked, read_only, shared, of_file, to_file})
    OK(madvise(bytes, size, MADV_DONTDUMP));
  OK(mlock(locked, size));
  OK(mprotect(read_only, size, PROT_READ));

  // A stack of which somebody thought that it should be in no core dump.
  constexpr size_t stack_size = 256 << 10;
  auto* stack = static_cast<char*>(OK(mmap(nullptr, stack_size, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  OK(madvise(stack, stack_size, MADV_DONTDUMP));
  static volatile int go;
  pthread_attr_t attributes;
  OK0(pthread_attr_init(&attributes));
  OK0(pthread_attr_setstack(&attributes, stack, stack_size));
  pthread_t thread;
  OK0(pthread_create(
      &thread, &attributes,
      [](void*) -> void* {
        volatile char local[20000];
        for (volatile char& byte : local) byte = 'l';
        while (go == 0) sleep_ms(1);
        long wrong = 0;
        for (volatile char& byte : local) wrong += byte != 'l';
        return reinterpret_cast<void*>(wrong);
      },
      nullptr));
  const auto started = start_time();

  checkpoint_here();

  const bool restored = start_time() != started;
  const char now = restored ? '\0' : 'x';
  for (size_t i = 0; i < size; i += 512) {
    EXPECT_EQ(plain[i], 'x');
    EXPECT_EQ(left_out[i], now);
    EXPECT_EQ(locked[i], now);
    EXPECT_EQ(read_only[i], now);
    EXPECT_EQ(shared[i], now);
    EXPECT_EQ(of_file[i], restored ? (i == 0 ? 'w' : 'f') : 'x');
    EXPECT_EQ(to_file[i], i == 0 ? 'w' : 'f');
  }
  left_out[1] = 'n';
  EXPECT_EQ(left_out[1], 'n');
  go = 1;
  void* wrong = nullptr;
  OK0(pthread_join(thread, &wrong));
  EXPECT_EQ(reinterpret_cast<long>(wrong), 0);
}
