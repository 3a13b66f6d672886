// SPDX-License-Identifier: Apache-2.0
#include <sys/prctl.h>
#include <sys/sendfile.h>

#include <string>

#include "tests/target.h"

// File names and command names are bytes; these are not UTF-8.
static const std::string directory = "\xff\xfe dir";
static const std::string program = "\xe9t\xe9\n";

static std::string link_of(const std::string& path) {
  char text[4096] = {};
  OK(readlink(path.c_str(), text, sizeof text - 1));
  return text;
}

// Runs this program once more under such a name.
static void become_the_program() {
  const OwnedFd from(OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
  struct stat status {};
  OK(fstat(from, &status));
  {
    const OwnedFd to(OK(open(program.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0755)));
    EXPECT_EQ(sendfile(to, from, nullptr, static_cast<size_t>(status.st_size)), status.st_size);
  }
  char* const arguments[] = {const_cast<char*>(program.c_str()), nullptr};
  OK(execv(program.c_str(), arguments));
}

TARGET() {
  if (!link_of("/proc/self/exe").ends_with(program)) become_the_program();
  OK(mkdir(directory.c_str(), 0755));
  const std::string name = directory + "/\xc3 file";
  const int handle = OK(open(directory.c_str(), O_PATH));
  const int listing = OK(open(directory.c_str(), O_RDONLY | O_DIRECTORY));
  const int file = OK(open(name.c_str(), O_RDWR | O_CREAT, 0600));
  EXPECT_EQ(write(file, "four", 4), 4);
  auto* shared = static_cast<char*>(OK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)));
  auto* own = static_cast<char*>(OK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0)));
  own[0] = 'F';
  OK(prctl(PR_SET_NAME, "\xff name"));
  OK(chdir(directory.c_str()));

  checkpoint_here();

  EXPECT_EQ(faccessat(handle, "\xc3 file", F_OK, 0), 0);
  EXPECT_EQ(faccessat(listing, "\xc3 file", F_OK, 0), 0);
  EXPECT_EQ(access("\xc3 file", F_OK), 0);
  EXPECT_EQ(lseek(file, 0, SEEK_CUR), 4);
  EXPECT_EQ(memcmp(shared, "four", 4), 0);
  EXPECT_EQ(memcmp(own, "Four", 4), 0);
  EXPECT_STR(read_text("/proc/self/comm"), "\xff name\n");
  EXPECT(link_of("/proc/self/exe").ends_with(program));
}
