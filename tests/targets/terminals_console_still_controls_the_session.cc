// SPDX-License-Identifier: Apache-2.0
// needs: root
// lock: console
#include <sys/ioctl.h>

#include <string>

#include "tests/target.h"

TARGET() {
  setsid();  // fails where it is a session leader already
  // One of its own, since another test could take it while this program is gone.
  const std::string path = "/dev/tty" + std::to_string(10 + getpid() % 50);
  const int console = open(path.c_str(), O_RDWR | O_NONBLOCK);
  if (console < 0) SKIP("no console");
  pid_t session = 0;
  if (ioctl(console, TIOCGSID, &session) != 0 || session != getpid()) SKIP("the console is not to be had");

  checkpoint_here();

  session = 0;
  OK(ioctl(console, TIOCGSID, &session));
  EXPECT_EQ(session, getpid());
  EXPECT_EQ(tcgetpgrp(console), getpgrp());
  EXPECT(OK(open("/dev/tty", O_RDWR | O_NONBLOCK)) > 0);
}
