#include "tests/target.h"

#include <sys/prctl.h>

// File names and thread names are bytes; an old Latin-1 name is no UTF-8.
TARGET() {
  OK(mkdir("d\xe9p\xf4t", 0700));
  int directory = OK(open("d\xe9p\xf4t", O_RDONLY | O_DIRECTORY));
  int handle = OK(open("d\xe9p\xf4t", O_PATH));
  OK(chdir("d\xe9p\xf4t"));
  int file = OK(open("caf\xe9", O_RDWR | O_CREAT, 0600));
  OK(write(file, "abc", 3));
  char* mapped = (char*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  EXPECT(mapped != MAP_FAILED);
  OK(prctl(PR_SET_NAME,
           "t\xe2"
           "che"));

  checkpoint_here();

  char name[16] = {};
  OK(prctl(PR_GET_NAME, name));
  EXPECT(strcmp(name,
                "t\xe2"
                "che") == 0);
  EXPECT_EQ(lseek(file, 0, SEEK_CUR), 3);
  EXPECT(memcmp(mapped, "abc", 3) == 0);
  mapped[0] = 'x';
  char byte = 0;
  OK(pread(file, &byte, 1, 0));
  EXPECT_EQ(byte, 'x');
  int again = OK(openat(directory, "caf\xe9", O_RDONLY));
  struct stat one, two;
  OK(fstat(again, &one));
  OK(stat("caf\xe9", &two));
  EXPECT_EQ(one.st_ino, two.st_ino);
  OK(fstat(handle, &one));
  OK(stat(".", &two));
  EXPECT_EQ(one.st_ino, two.st_ino);
}
