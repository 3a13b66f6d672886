// SPDX-License-Identifier: Apache-2.0
// expect: refused SEM_UNDO
#include <sys/ipc.h>
#include <sys/sem.h>

#include "tests/target.h"

TARGET() {
  const int id = OK(semget(IPC_PRIVATE, 1, 0600));
  sembuf up{0, 1, SEM_UNDO};
  OK(semop(id, &up, 1));

  checkpoint_here();

  EXPECT_EQ(semctl(id, 0, GETVAL), 1);
  OK(semctl(id, 0, IPC_RMID));
}
