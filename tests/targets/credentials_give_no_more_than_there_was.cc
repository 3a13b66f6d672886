// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <sys/prctl.h>
#include <string>

#include "tests/target.h"

// The lines of /proc/self/status that say who the process is.
static std::string identity() {
  std::string text = read_text("/proc/self/status"), result;
  for (const char* key :
       {"Uid:", "Gid:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"}) {
    const size_t at = text.find(key);
    result += text.substr(at, text.find('\n', at) - at + 1);
  }
  return result;
}

TARGET() {
  const std::string before = identity();
  const int securebits = prctl(PR_GET_SECUREBITS);

  checkpoint_here();

  const std::string after = identity();
  EXPECT_STR(after.c_str(), before.c_str());
  EXPECT_EQ(prctl(PR_GET_SECUREBITS), securebits);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE), 1);
}
