// SPDX-License-Identifier: Apache-2.0
#include "engine/file_content.h"

#include <elf.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "os/file_io.h"
#include "os/ids.h"
#include "store/checksum.h"

namespace crs {
namespace {

using state::FileContent;

constexpr std::uint64_t whole_file = 2u << 20;
constexpr std::uint64_t first_part = 64u << 10;
constexpr std::uint64_t last_part = 512u << 10;
constexpr std::uint64_t small_part = 4u << 10;
constexpr std::uint64_t whole_mapped_file = 64u << 10;
constexpr std::uint64_t longest_part = 4u << 20;
constexpr std::size_t most_parts = 8;
constexpr std::size_t longest_build_id = 64;
constexpr std::size_t piece_size = 256u << 10;

enum class Wait : std::uint8_t { no, yes };

// false: an early end, an error, or (Wait::no) something that is not in memory.
bool read_all_of(int fd, std::span<std::byte> data, std::uint64_t offset, Wait wait) {
  bool may_ask = wait == Wait::no;
  while (!data.empty()) {
    const iovec room{data.data(), data.size()};
    const ssize_t done = preadv2(fd, &room, 1, static_cast<off_t>(offset), may_ask ? RWF_NOWAIT : 0);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EOPNOTSUPP && may_ask) {
      may_ask = false;  // a file system that is memory itself, or is far away
      continue;
    }
    if (done <= 0) return false;
    offset += static_cast<std::uint64_t>(done);
    data = data.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

std::string to_bytes(const store::Hash128& hash) {
  std::string bytes(sizeof hash, '\0');
  std::memcpy(bytes.data(), &hash, sizeof hash);
  return bytes;
}

std::optional<std::string> checksum(int fd, std::uint64_t offset, std::uint64_t length, Wait wait) {
  store::Checksummer sum;
  std::vector<std::byte> piece(std::min<std::uint64_t>(piece_size, length));
  for (std::uint64_t done = 0; done < length;) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), length - done));
    if (!read_all_of(fd, part, offset + done, wait)) return std::nullopt;
    sum.add(part);
    done += part.size();
  }
  return to_bytes(sum.result());
}

bool add_part(FileContent& content, int fd, std::uint64_t offset, std::uint64_t length, Wait wait) {
  auto sum = checksum(fd, offset, length, wait);
  if (!sum) return false;
  auto& part = *content.add_parts();
  part.set_offset(offset);
  part.set_length(length);
  part.set_checksum(std::move(*sum));
  return true;
}

// `first` bytes at its start and `last` at its end; all of it where they meet.
bool add_ends(FileContent& content, int fd, std::uint64_t size, std::uint64_t first, std::uint64_t last,
              Wait wait) {
  content.clear_parts();
  if (size <= first + last) {
    content.set_whole(size == 0 || add_part(content, fd, 0, size, wait));
    return content.whole();
  }
  return add_part(content, fd, 0, first, wait) && add_part(content, fd, size - last, last, wait);
}

// The note is in the first page of whatever a usual linker made.
std::string build_id_of(int fd) {
  std::vector<std::byte> page(page_size);
  const ssize_t got = pread(fd, page.data(), page.size(), 0);
  Elf64_Ehdr header{};
  if (got < static_cast<ssize_t>(sizeof header)) return {};
  std::memcpy(&header, page.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_phentsize != sizeof(Elf64_Phdr))
    return {};
  const auto end = static_cast<std::uint64_t>(got);
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    const std::uint64_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
    if (header.e_phoff > end || at + sizeof(Elf64_Phdr) > end) return {};
    Elf64_Phdr segment{};
    std::memcpy(&segment, page.data() + at, sizeof segment);
    if (segment.p_type != PT_NOTE || segment.p_offset >= end) continue;
    const std::uint64_t stop = segment.p_offset + std::min(segment.p_filesz, end - segment.p_offset);
    for (std::uint64_t note = segment.p_offset; note + sizeof(Elf64_Nhdr) <= stop;) {
      Elf64_Nhdr head{};
      std::memcpy(&head, page.data() + note, sizeof head);
      constexpr std::uint64_t word = 4;
      const std::uint64_t name = note + sizeof head;
      const std::uint64_t value = name + (head.n_namesz + word - 1) / word * word;
      const std::uint64_t next = value + (head.n_descsz + word - 1) / word * word;
      if (value + head.n_descsz > stop) break;
      const bool is_gnu = head.n_namesz == 4 && std::memcmp(page.data() + name, "GNU", 4) == 0;
      if (is_gnu && head.n_type == NT_GNU_BUILD_ID && head.n_descsz <= longest_build_id)
        return {reinterpret_cast<const char*>(page.data() + value), head.n_descsz};
      note = next;
    }
  }
  return {};
}

}  // namespace

FileContent content_of_file(int fd, std::uint64_t size, Allowance& allowance) {
  FileContent content;
  const std::uint64_t wanted = size <= whole_file ? size : first_part + last_part;
  const bool may = wanted <= allowance.bytes;
  if (may) allowance.bytes -= wanted;
  const std::uint64_t first = size <= whole_file ? size : first_part;
  if (may && add_ends(content, fd, size, first, last_part, Wait::no)) return content;
  // Even of a thousand files, or of one that nobody has looked at for days.
  if (!add_ends(content, fd, size, small_part, small_part, Wait::yes)) content.clear_parts();
  return content;
}

FileContent content_of_mapped_file(int fd, std::uint64_t size) {
  FileContent content;
  if (std::string id = build_id_of(fd); !id.empty()) content.set_build_id(std::move(id));
  const std::uint64_t first =
      size <= whole_mapped_file && content.build_id().empty() ? whole_mapped_file : small_part;
  if (!add_ends(content, fd, size, first, small_part, Wait::no)) content.clear_parts();
  return content;
}

Status check_content(const FileContent& content, std::uint64_t size) {
  std::uint64_t covered = 0;
  bool sound =
      content.parts().size() <= static_cast<int>(most_parts) && content.build_id().size() <= longest_build_id;
  for (const auto& part : content.parts()) {
    sound = sound && part.checksum().size() == sizeof(store::Hash128) && part.length() > 0 &&
            part.length() <= longest_part && part.offset() <= size && part.length() <= size - part.offset();
    covered += part.length();
  }
  if (sound && (!content.whole() || covered == size)) return ok();
  return Error(Errc::bad_snapshot, "the content of a file is described wrongly");
}

Sameness compare_content(const FileContent& content, int fd) {
  for (const auto& part : content.parts()) {
    const auto sum = checksum(fd, part.offset(), part.length(), Wait::yes);
    if (!sum) return Sameness::unknown;
    if (*sum != part.checksum()) return Sameness::changed;
  }
  if (content.whole()) return Sameness::same;
  if (!content.build_id().empty() && build_id_of(fd) != content.build_id()) return Sameness::changed;
  return content.parts().empty() && content.build_id().empty() ? Sameness::unknown : Sameness::similar;
}

}  // namespace crs
