// settle: 0.1
#include "tests/target.h"

#include <sys/ipc.h>
#include <sys/sem.h>

// The semaphore itself lives outside of the process and outlives its death; removed at the end.
TARGET() {
  static int id;
  id = semget(IPC_PRIVATE, 2, 0600);
  if (id < 0) SKIP("semget: %s", strerror(errno));
  auto wait_for = [](unsigned short which, bool limited) {
    struct sembuf down = {which, -1, 0};
    struct timespec limit = {1, 0};
    int result = limited ? semtimedop(id, &down, 1, &limit) : semop(id, &down, 1);
    return result == 0 ? 0 : errno;
  };

  begin_checkpoint();
  TargetThread endless([=] { return wait_for(0, false); });
  TargetThread limited([=] { return wait_for(1, true); });
  end_checkpoint();

  struct sembuf up = {0, 1, 0};
  EXPECT_EQ(semop(id, &up, 1), 0);
  EXPECT_EQ(endless.join(), 0);
  EXPECT_EQ(limited.join(), EAGAIN);
  semctl(id, 0, IPC_RMID);
}
