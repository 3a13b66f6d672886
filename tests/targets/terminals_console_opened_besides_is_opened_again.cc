// SPDX-License-Identifier: Apache-2.0
// needs: root
// lock: console
#include <asm/termbits.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "tests/target.h"

TARGET() {
  const int console = open("/dev/tty5", O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (console < 0) SKIP("no /dev/tty5");
  struct termios before {};
  OK(ioctl(console, TCGETS, &before));
  struct termios raw = before;
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  OK(ioctl(console, TCSETS, &raw));

  checkpoint_here();

  struct stat status {};
  OK(fstat(console, &status));
  EXPECT_EQ(status.st_rdev, makedev(4, 5));
  EXPECT_EQ(fcntl(console, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK);
  struct termios now {};
  OK(ioctl(console, TCGETS, &now));
  EXPECT_EQ(now.c_lflag & ECHO, 0u);
  OK(ioctl(console, TCSETS, &before));
}
