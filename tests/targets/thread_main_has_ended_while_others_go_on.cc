#include "tests/target.h"

#include <sys/prctl.h>

// The leader of the process is a zombie (pthread_exit in main) while two other threads work: the harness's
// main() is never returned to, so one of them writes the result. All go on, files and memory are there, and
// the process still ends with the status that one of its threads gives.
static bool leader_is_zombie() {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
  const char* name_end = strrchr(read_text(path), ')');
  return name_end != nullptr && strncmp(name_end, ") Z ", 4) == 0;
}

TARGET() {
  static int fd = OK(open("kept", O_RDWR | O_CREAT, 0600));
  static int ends[2];
  OK(pipe(ends));
  static pid_t pid = getpid();
  OK(prctl(PR_SET_NAME, "the leader"));
  OK0(pthread_detach(pthread_self()));
  static TargetThread other([] {
    char text = 0;
    return read(ends[0], &text, 1) == 1 && text == 'x';
  });
  pthread_t worker;
  OK0(pthread_create(
      &worker, nullptr,
      [](void*) -> void* {
        AWAIT(leader_is_zombie());
        EXPECT_EQ(write(fd, "abc", 3), 3);
        checkpoint_here();
        EXPECT_EQ(syscall(SYS_getpid), static_cast<long>(pid));
        EXPECT(leader_is_zombie());
        EXPECT(strstr(read_text("/proc/thread-self/status"), "Threads:\t3") != nullptr);
        char path[64];
        snprintf(path, sizeof path, "/proc/self/task/%d/comm", pid);
        EXPECT_STR(read_text(path), "the leader\n");
        EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 3);
        EXPECT_EQ(kill(pid, 0), 0);
        EXPECT_EQ(write(ends[1], "x", 1), 1);
        EXPECT_EQ(other.join(), 1);
        TargetThread another([] { return 7; });
        EXPECT_EQ(another.join(), 7);
        target_result(target_failures == 0 ? "PASS 9 checks\n" : "FAIL\n");
        _exit(target_failures == 0 ? 0 : 1);
      },
      nullptr));
  pthread_exit(nullptr);
}
