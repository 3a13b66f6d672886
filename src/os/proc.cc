#include "os/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <memory>

namespace crs {
namespace {

// The kernel answers ESRCH for entries of a process that is gone, ENOENT for the directory itself.
Error gone_or(Error error) {
  if (error.error_number() == ESRCH) error.set_code(Errc::target_gone);
  return error;
}

std::string_view trim_front(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

std::string_view next_word(std::string_view& rest) {
  rest = trim_front(rest);
  const std::size_t length = std::min(rest.find_first_of(" \t"), rest.size());
  std::string_view word = rest.substr(0, length);
  rest.remove_prefix(length);
  return word;
}

template <class Line>
Status for_each_line(std::string_view text, Line&& line) {
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    CRS_CHECK(line(text.substr(0, length)));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return ok();
}

std::string decode_name(std::string_view name) {
  std::string plain;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i, 4) == "\\012") {
      plain += '\n';
      i += 3;
    } else {
      plain += name[i];
    }
  }
  return plain;
}

Result<Vma> parse_map_line(std::string_view line) {
  const auto bad = [&] { return Error(Errc::bug, "cannot read the maps line '" + std::string(line) + "'"); };
  std::string_view rest = line;
  const std::string_view range = next_word(rest);
  const std::string_view access = next_word(rest);
  const std::string_view offset = next_word(rest);
  const std::string_view device = next_word(rest);
  const std::string_view inode = next_word(rest);
  const std::size_t dash = range.find('-');
  const std::size_t colon = device.find(':');
  if (dash == std::string_view::npos || colon == std::string_view::npos || access.size() != 4) return bad();
  const auto start = parse_number(range.substr(0, dash), 16);
  const auto end = parse_number(range.substr(dash + 1), 16);
  const auto at = parse_number(offset, 16);
  const auto major = parse_number(device.substr(0, colon), 16);
  const auto minor = parse_number(device.substr(colon + 1), 16);
  const auto number = parse_number(inode, 10);
  if (!start || !end || !at || !major || !minor || !number || *end < *start) return bad();
  Vma vma;
  vma.start = *start;
  vma.end = *end;
  vma.read = access[0] == 'r';
  vma.write = access[1] == 'w';
  vma.execute = access[2] == 'x';
  vma.shared = access[3] == 's';
  vma.offset = *at;
  vma.device_major = static_cast<std::uint32_t>(*major);
  vma.device_minor = static_cast<std::uint32_t>(*minor);
  vma.inode = *number;
  vma.name = decode_name(trim_front(rest));
  return vma;
}

Result<std::vector<int>> list_numbers(int directory, const std::string& name, const std::string& where) {
  const int fd = ::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return gone_or(Error::from_errno(errno, "open " + where + "/" + name));
  std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), &::closedir);
  if (!stream) {
    ::close(fd);
    return Error(Errc::kernel, "fdopendir " + where + "/" + name);
  }
  std::vector<int> numbers;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) return gone_or(Error::from_errno(errno, "read " + where + "/" + name));
      break;
    }
    if (const auto number = parse_number(entry->d_name)) numbers.push_back(static_cast<int>(*number));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

std::string to_string(RemoteAddr address) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%" PRIx64, address.v);
  return text;
}

std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  if (base == 16 && text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    text.remove_prefix(2);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

int Vma::protection() const {
  return (read ? PROT_READ : 0) | (write ? PROT_WRITE : 0) | (execute ? PROT_EXEC : 0);
}

Result<std::vector<Vma>> parse_maps(std::string_view text) {
  std::vector<Vma> vmas;
  CRS_CHECK(for_each_line(text, [&](std::string_view line) -> Status {
    CRS_TRY(Vma vma, parse_map_line(line));
    vmas.push_back(std::move(vma));
    return ok();
  }));
  return vmas;
}

Result<ProcStat> parse_stat(std::string_view text) {
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close + 2 >= text.size()) {
    return Error(Errc::bug, "cannot read a stat line");
  }
  ProcStat stat;
  stat.comm = std::string(text.substr(open + 1, close - open - 1));
  std::string_view rest = text.substr(close + 1);
  if (!rest.empty() && rest.back() == '\n') rest.remove_suffix(1);
  stat.fields.assign(3, 0);
  stat.fields[1] = parse_number(text.substr(0, text.find(' '))).value_or(0);
  const std::string_view state = next_word(rest);
  stat.state = state.empty() ? '?' : state[0];
  stat.fields.push_back(0);  // field 3 is the state
  while (!trim_front(rest).empty()) {
    std::string_view word = next_word(rest);
    const bool negative = word[0] == '-';
    if (negative) word.remove_prefix(1);
    const std::uint64_t value = parse_number(word).value_or(0);
    stat.fields.push_back(negative ? std::uint64_t{0} - value : value);
  }
  return stat;
}

ProcFields ProcFields::parse(std::string_view text) {
  ProcFields fields;
  (void)for_each_line(text, [&](std::string_view line) -> Status {
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      fields.fields_.emplace(std::string(line.substr(0, colon)),
                             std::string(trim_front(line.substr(colon + 1))));
    }
    return ok();
  });
  return fields;
}

std::optional<std::string_view> ProcFields::find(std::string_view key) const {
  const auto found = fields_.lower_bound(key);
  if (found == fields_.end() || found->first != key) return std::nullopt;
  return found->second;
}

std::optional<std::uint64_t> ProcFields::number(std::string_view key, int base) const {
  const auto text = find(key);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  return parse_number(next_word(rest), base);
}

std::optional<std::int64_t> ProcFields::signed_number(std::string_view key) const {
  const auto text = find(key);
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  std::string_view word = next_word(rest);
  const bool negative = !word.empty() && word[0] == '-';
  if (negative) word.remove_prefix(1);
  const auto value = parse_number(word);
  if (!value) return std::nullopt;
  return static_cast<std::int64_t>(negative ? std::uint64_t{0} - *value : *value);
}

std::vector<std::uint64_t> ProcFields::numbers(std::string_view key, int base) const {
  std::vector<std::uint64_t> values;
  std::string_view rest = find(key).value_or("");
  for (;;) {
    const auto value = parse_number(next_word(rest), base);
    if (!value) return values;
    values.push_back(*value);
  }
}

Result<ProcDir> ProcDir::open(Pid pid) {
  std::string path = "/proc/" + std::to_string(pid.v);
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    const int error_number = errno;
    if (error_number == ENOENT) {
      return Error(Errc::not_found, "there is no process " + std::to_string(pid.v));
    }
    return Error::from_errno(error_number, "open " + path);
  }
  return ProcDir(OwnedFd(fd), std::move(path));
}

Result<ProcDir> ProcDir::open_own_thread() {
  const std::string path = "/proc/thread-self";
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Error::from_errno(errno, "open " + path);
  return ProcDir(OwnedFd(fd), path);
}

Result<ProcDir> ProcDir::open_task(Tid tid) const {
  const std::string name = "task/" + std::to_string(tid.v);
  CRS_TRY(OwnedFd fd, open_entry(name, O_RDONLY | O_DIRECTORY));
  return ProcDir(std::move(fd), path_ + "/" + name);
}

Result<OwnedFd> ProcDir::open_entry(const std::string& name, int flags) const {
  const int fd = ::openat(fd_.get(), name.c_str(), flags | O_CLOEXEC);
  if (fd < 0) {
    const int error_number = errno;
    return gone_or(Error::from_errno(error_number, "open " + path_ + "/" + name,
                                     error_number == ENOENT ? Errc::not_found : Errc::kernel));
  }
  return OwnedFd(fd);
}

Result<std::string> ProcDir::read(const std::string& name) const {
  CRS_TRY(OwnedFd fd, open_entry(name, O_RDONLY));
  return read_fd(fd.get(), path_ + "/" + name);
}

Result<std::string> ProcDir::read_link(const std::string& name) const {
  auto target = read_link_at(fd_.get(), name);
  if (!target) return gone_or(std::move(target).error()).with_context(path_);
  return target;
}

Result<std::vector<Tid>> ProcDir::tasks() const {
  CRS_TRY(auto numbers, list_numbers(fd_.get(), "task", path_));
  std::vector<Tid> tids;
  for (const int number : numbers) tids.emplace_back(number);
  return tids;
}

Result<std::vector<RemoteFd>> ProcDir::fds() const {
  CRS_TRY(auto numbers, list_numbers(fd_.get(), "fd", path_));
  std::vector<RemoteFd> fds;
  for (const int number : numbers) fds.emplace_back(number);
  return fds;
}

Result<std::vector<Vma>> ProcDir::maps() const {
  CRS_TRY(const std::string text, read("maps"));
  return parse_maps(text);
}

Result<ProcStat> ProcDir::stat() const {
  CRS_TRY(const std::string text, read("stat"));
  return parse_stat(text).context(path_);
}

Result<ProcFields> ProcDir::status() const {
  CRS_TRY(const std::string text, read("status"));
  return ProcFields::parse(text);
}

std::string boot_id() {
  const auto text = read_file("/proc/sys/kernel/random/boot_id");
  return text ? text->substr(0, text->find('\n')) : std::string();
}

}  // namespace crs
