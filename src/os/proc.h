// ProcDir: one process (or thread) as /proc tells of it.
//
// What this file knows
//   /proc/PID is opened once, so that all reads are of the same process even if its number is taken by
//   another meanwhile; reads of a process that is gone fail with ESRCH, which becomes Errc::target_gone. A
//   comm may hold blanks and parentheses: fields of stat count from the *last* ')'. Names of mappings may
//   hold anything but newline, which the kernel prints as \012.
// Kernel interfaces: proc(5).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/file_io.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"

namespace crs {

// One line of /proc/PID/maps.
struct Vma {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  bool read = false, write = false, execute = false, shared = false;
  std::uint64_t offset = 0;  // bytes
  std::uint32_t device_major = 0, device_minor = 0;
  std::uint64_t inode = 0;
  std::string name;  // path, "[heap]", "[stack]", "[vdso]", "" ...; newline decoded

  std::uint64_t size() const { return end - start; }
  int protection() const;  // PROT_*
  bool contains(std::uint64_t address) const { return start <= address && address < end; }
  bool has_path() const { return !name.empty() && name[0] == '/'; }
};

// Fields of /proc/PID/stat by their number in proc(5) ("(3) state"), comm excepted.
struct ProcStat {
  std::string comm;
  char state = '?';
  std::vector<std::uint64_t> fields;  // fields[n] is field n; negative ones two's complement
  std::uint64_t field(std::size_t number) const { return number < fields.size() ? fields[number] : 0; }
};

// "Key:\tvalue" files: status, fdinfo.
class ProcFields {
 public:
  static ProcFields parse(std::string_view text);
  std::optional<std::string_view> find(
      std::string_view key) const;  // value without leading blanks; first one
  std::optional<std::uint64_t> number(std::string_view key, int base = 10) const;
  std::optional<std::int64_t> signed_number(std::string_view key) const;
  std::vector<std::uint64_t> numbers(std::string_view key, int base = 10) const;  // "Uid:" and the like

 private:
  std::multimap<std::string, std::string, std::less<>> fields_;
};

class ProcDir {
 public:
  static Result<ProcDir> open(Pid pid);
  // /proc/PID/task/TID
  Result<ProcDir> open_task(Tid tid) const;
  // /proc/thread-self: the calling thread's own
  static Result<ProcDir> open_own_thread();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }  // for messages
  Result<std::string> read(const std::string& name) const;
  Result<std::string> read_link(const std::string& name) const;
  Result<OwnedFd> open_entry(const std::string& name, int flags) const;

  Result<std::vector<Tid>> tasks() const;     // ascending
  Result<std::vector<RemoteFd>> fds() const;  // ascending
  Result<std::vector<Vma>> maps() const;
  Result<ProcStat> stat() const;
  Result<ProcFields> status() const;

 private:
  ProcDir(OwnedFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  OwnedFd fd_;
  std::string path_;
};

Result<std::vector<Vma>> parse_maps(std::string_view text);
Result<ProcStat> parse_stat(std::string_view text);

// Whole-string numbers; base 10 or 16 (with or without 0x). nullopt for anything else.
// /proc/sys/kernel/random/boot_id: another text after each start of the system; empty where it is not to be
// had.
std::string boot_id();

std::optional<std::uint64_t> parse_number(std::string_view text, int base = 10);

}  // namespace crs
