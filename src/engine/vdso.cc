// SPDX-License-Identifier: Apache-2.0
#include "engine/vdso.h"

#include <elf.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace crs {
namespace {

// Bounds-checked reading: a saved image may be anything.
class Image {
 public:
  explicit Image(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  std::optional<T> at(std::uint64_t offset) const {
    if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  std::optional<std::string> text(std::uint64_t offset) const {
    if (offset >= bytes_.size()) return std::nullopt;
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + offset;
    const std::size_t room = bytes_.size() - offset;
    const std::size_t length = strnlen(start, room);
    if (length == room) return std::nullopt;
    return std::string(start, length);
  }

 private:
  std::span<const std::byte> bytes_;
};

struct Tables {
  std::uint64_t symbols = 0, strings = 0, hash = 0, gnu_hash = 0;
};

Error no_vdso() {
  return Error(Errc::bad_snapshot, "the saved vdso is no vdso");
}

// The vdso is linked at 0 and loaded in one piece, so that addresses are offsets.
Result<Tables> find_tables(const Image& image) {
  const auto header = image.at<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_machine != EM_X86_64)
    return no_vdso();
  Tables tables;
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const auto segment = image.at<Elf64_Phdr>(header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return no_vdso();
    if (segment->p_type != PT_DYNAMIC) continue;
    for (std::uint64_t at = segment->p_offset;; at += sizeof(Elf64_Dyn)) {
      const auto entry = image.at<Elf64_Dyn>(at);
      if (!entry) return no_vdso();
      if (entry->d_tag == DT_NULL) break;
      if (entry->d_tag == DT_SYMTAB) tables.symbols = entry->d_un.d_ptr;
      if (entry->d_tag == DT_STRTAB) tables.strings = entry->d_un.d_ptr;
      if (entry->d_tag == DT_HASH) tables.hash = entry->d_un.d_ptr;
      if (entry->d_tag == DT_GNU_HASH) tables.gnu_hash = entry->d_un.d_ptr;
    }
  }
  if (tables.symbols == 0 || tables.strings == 0) return no_vdso();
  return tables;
}

// One above the highest symbol that the GNU hash table lists: its last chain ends with an odd value.
std::optional<std::uint32_t> count_by_gnu_hash(const Image& image, std::uint64_t at) {
  const auto header =
      image.at<std::array<std::uint32_t, 4>>(at);  // buckets, first symbol, bloom words, shift
  if (!header) return std::nullopt;
  const std::uint64_t buckets = at + sizeof *header + std::uint64_t{(*header)[2]} * 8;
  std::uint32_t highest = 0;
  for (std::uint32_t i = 0; i < (*header)[0]; ++i) {
    const auto bucket = image.at<std::uint32_t>(buckets + i * 4ull);
    if (!bucket) return std::nullopt;
    highest = std::max(highest, *bucket);
  }
  if (highest < (*header)[1]) return highest == 0 ? std::optional<std::uint32_t>(0) : std::nullopt;
  const std::uint64_t chains = buckets + (*header)[0] * 4ull;
  for (;; ++highest) {
    const auto chain = image.at<std::uint32_t>(chains + (highest - (*header)[1]) * 4ull);
    if (!chain) return std::nullopt;
    if ((*chain & 1) != 0) return highest + 1;
  }
}

std::optional<std::uint32_t> count_symbols(const Image& image, const Tables& tables) {
  if (tables.hash != 0) return image.at<std::uint32_t>(tables.hash + 4);
  if (tables.gnu_hash != 0) return count_by_gnu_hash(image, tables.gnu_hash);
  return std::nullopt;
}

using Code = std::vector<std::uint8_t>;

void append(Code& code, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) code.push_back(static_cast<std::uint8_t>(byte));
}
void append_number(Code& code, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) code.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

// r11 is free at the entry of a function (System V ABI).
Code jump_to(std::uint64_t address) {
  Code code;
  append(code, {0x49, 0xbb});  // mov r11, address
  append_number(code, address, 8);
  append(code, {0x41, 0xff, 0xe3});  // jmp r11
  return code;
}

Code system_call(long number) {
  Code code;
  append(code, {0xb8});  // mov eax, number
  append_number(code, static_cast<std::uint64_t>(number), 4);
  append(code, {0x0f, 0x05, 0xc3});  // syscall; ret
  return code;
}

// getrandom(buffer, length, flags, state, state_length): a state_length of ~0 asks what a state is like, and
// -ENOSYS says that there is none.
Code random_by_system_call() {
  Code code;
  append(code, {0x49, 0x83, 0xf8, 0xff});  // cmp r8, -1
  const Code call = system_call(SYS_getrandom);
  append(code, {0x74, static_cast<unsigned>(call.size())});  // je over the call
  code.insert(code.end(), call.begin(), call.end());
  append(code, {0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, 0xc3});  // mov rax, -ENOSYS; ret
  return code;
}

// By the plain name; each is exported with "__vdso_" before it as well.
std::optional<Code> without_vdso(const std::string& name) {
  constexpr std::pair<const char*, long> table[] = {{"clock_gettime", SYS_clock_gettime},
                                                    {"clock_getres", SYS_clock_getres},
                                                    {"gettimeofday", SYS_gettimeofday},
                                                    {"time", SYS_time},
                                                    {"getcpu", SYS_getcpu}};
  for (const auto& [known, number] : table) {
    if (name == known) return system_call(number);
  }
  return std::nullopt;
}

std::string plain_name(const std::string& name) {
  constexpr std::string_view prefix = "__vdso_";
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

}  // namespace

Result<std::map<std::string, VdsoFunction>> functions_of_vdso(std::span<const std::byte> bytes) {
  const Image image(bytes);
  CRS_TRY(const Tables tables, find_tables(image));
  const auto count = count_symbols(image, tables);
  if (!count) return no_vdso();
  std::map<std::string, VdsoFunction> found;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto symbol = image.at<Elf64_Sym>(tables.symbols + i * sizeof(Elf64_Sym));
    if (!symbol) return no_vdso();
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF) continue;
    auto name = image.text(tables.strings + symbol->st_name);
    const bool inside = symbol->st_value < bytes.size() && symbol->st_size <= bytes.size() - symbol->st_value;
    if (!name || !inside) return no_vdso();
    found[std::move(*name)] = {symbol->st_value, symbol->st_size};
  }
  return found;
}

Result<Bytes> redirect_vdso(std::span<const std::byte> saved, std::span<const std::byte> own,
                            std::uint64_t own_address) {
  CRS_TRY(const auto old_functions, functions_of_vdso(saved));
  CRS_TRY(const auto new_functions, functions_of_vdso(own));
  Bytes image(saved.begin(), saved.end());
  std::map<std::uint64_t, Code> written;  // by offset; two names may be one function
  for (const auto& [name, function] : old_functions) {
    std::optional<Code> code;
    const auto now = new_functions.find(name);
    if (plain_name(name) == "getrandom") {
      code = random_by_system_call();
    } else if (now != new_functions.end()) {
      code = jump_to(own_address + now->second.offset);
    } else {
      code = without_vdso(plain_name(name));
    }
    if (!code) return Error(Errc::unsupported, "this kernel's vdso has no function " + name);
    if (code->size() > function.size)
      return Error(Errc::unsupported, "the vdso's function " + name + " is too short to lead elsewhere");
    if (!written.emplace(function.offset, *code).second) continue;
    std::memcpy(image.data() + function.offset, code->data(), code->size());
  }
  return image;
}

}  // namespace crs
