// settle: 0.1
#include "tests/target.h"

#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/select.h>

// Each thread waits without a limit for something that comes only after the checkpoint.
static int read_ends[2];
static int poll_ends[2];
static int write_ends[2];
static int word = 5;
static sem_t semaphore;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t condition_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static bool condition_met;

static void on_signal(int) {}

static bool wait_read() {
  char byte = 0;
  return read(read_ends[0], &byte, 1) == 1 && byte == 'r';
}
static bool wait_write() {
  return write(write_ends[1], "w", 1) == 1;  // the pipe is full
}
static bool wait_poll() {
  struct pollfd one = {poll_ends[0], POLLIN, 0};
  return poll(&one, 1, -1) == 1;
}
static bool wait_select() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(poll_ends[0], &set);
  return select(poll_ends[0] + 1, &set, nullptr, nullptr, nullptr) == 1;
}
static bool wait_futex() {
  return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, nullptr, nullptr, 0) == 0;
}
static bool wait_semaphore() {
  return sem_wait(&semaphore) == 0;
}
static bool wait_mutex() {
  return pthread_mutex_lock(&held) == 0 && pthread_mutex_unlock(&held) == 0;
}
static bool wait_condition() {
  pthread_mutex_lock(&condition_lock);
  while (!condition_met) pthread_cond_wait(&condition, &condition_lock);
  return pthread_mutex_unlock(&condition_lock) == 0;
}
static bool wait_sigwaitinfo() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return sigwaitinfo(&set, nullptr) == SIGRTMIN + 1;
}
static volatile bool paused_too_early = true;
static bool wait_pause() {
  return pause() == -1 && errno == EINTR && !paused_too_early;
}
static bool wait_sigsuspend() {
  sigset_t none;
  sigemptyset(&none);
  return sigsuspend(&none) == -1 && errno == EINTR && !paused_too_early;
}

struct Wait {
  const char* name;
  bool (*call)();
  int signal;
  pthread_t thread;
};

TARGET() {
  OK(pipe(read_ends));
  OK(pipe(poll_ends));
  OK(pipe(write_ends));
  OK(fcntl(write_ends[1], F_SETPIPE_SZ, 4096));
  char block[4096] = {};
  OK(write(write_ends[1], block, sizeof block));
  OK(sem_init(&semaphore, 0, 0));
  OK0(pthread_mutex_lock(&held));
  struct sigaction action = {};
  action.sa_handler = on_signal;
  OK(sigaction(SIGUSR1, &action, nullptr));
  static Wait waits[] = {{"read", wait_read, 0, 0},
                         {"write", wait_write, 0, 0},
                         {"poll", wait_poll, 0, 0},
                         {"select", wait_select, 0, 0},
                         {"futex", wait_futex, 0, 0},
                         {"sem_wait", wait_semaphore, 0, 0},
                         {"mutex", wait_mutex, 0, 0},
                         {"pthread_cond_wait", wait_condition, 0, 0},
                         {"pause", wait_pause, SIGUSR1, 0},
                         {"sigsuspend", wait_sigsuspend, SIGUSR1, 0},
                         {"sigwaitinfo", wait_sigwaitinfo, SIGRTMIN + 1, 0}};

  begin_checkpoint();
  for (Wait& wait : waits)
    OK0(pthread_create(
        &wait.thread, nullptr,
        [](void* argument) {
          auto* self = static_cast<Wait*>(argument);
          bool good = self->call();
          if (!good) fprintf(stderr, "  %s: %s\n", self->name, strerror(errno));
          return reinterpret_cast<void*>(static_cast<intptr_t>(good));
        },
        &wait));
  end_checkpoint();

  sleep_ms(50);  // whoever comes back early has time to be noticed
  paused_too_early = false;
  OK(write(read_ends[1], "r", 1));
  OK(write(poll_ends[1], "p", 1));
  OK(read(write_ends[0], block, sizeof block));
  OK(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0));
  OK(sem_post(&semaphore));
  OK0(pthread_mutex_unlock(&held));
  OK0(pthread_mutex_lock(&condition_lock));
  condition_met = true;
  OK0(pthread_cond_broadcast(&condition));
  OK0(pthread_mutex_unlock(&condition_lock));
  for (Wait& wait : waits) {
    if (wait.signal != 0) OK0(pthread_kill(wait.thread, wait.signal));
    void* good = nullptr;
    OK0(pthread_join(wait.thread, &good));
    EXPECT(good != nullptr);
    if (good == nullptr) fprintf(stderr, "  %s\n", wait.name);
  }
}
