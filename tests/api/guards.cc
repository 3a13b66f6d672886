// SPDX-License-Identifier: Apache-2.0
// guards DIRECTORY: regions of memory as objects. Saves itself to DIRECTORY, and writes how that ended.
#include <crs/memory.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace api = crs::api;

static_assert(!std::is_copy_constructible_v<api::ExcludedMemory> &&
              std::is_nothrow_move_constructible_v<api::ExcludedMemory> &&
              std::is_nothrow_move_assignable_v<api::ExcludedMemory> &&
              !std::is_copy_assignable_v<api::IncludedMemory>);

namespace {

constexpr std::size_t page = 4096, size = 64 * page;

bool is(const char* bytes, std::size_t count, char value) {
  for (std::size_t i = 0; i < count; ++i) {
    if (bytes[i] != value) return false;
  }
  return true;
}

// Aligned to pages, with room at its end.
struct Block {
  std::vector<char> all = std::vector<char>(size + page, 'x');
  char* begin() { return all.data() + (page - reinterpret_cast<std::uintptr_t>(all.data()) % page) % page; }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  if (api::ExcludedMemory("too early", argv, 1).error().code() != CRS_ERR_NOT_READY) return 3;
  const api::Participation participation;
  if (participation.error()) return 4;
  Block zeros, rebuilt, saved;
  if (!api::ExcludedMemory("none", nullptr, 1).error()) return 5;
  int lives = 0;
  api::ExcludedMemory first("zeros", zeros.begin(), size);
  const api::IncludedMemory part("included", zeros.begin() + 2 * page, page);
  api::ExcludedMemory second("never called", saved.begin(), size,
                             [](void*, std::size_t) -> int { throw std::runtime_error("called"); });
  api::ExcludedMemory third("rebuilt", rebuilt.begin(), size, [&lives](void* memory, std::size_t bytes) {
    std::memset(memory, 'r', bytes);
    return ++lives == 1 ? 0 : 1;
  });
  if (!first || !second || !third || first.error() || part.error()) return 6;
  // Moved about, they stay what they are; what is overwritten is forgotten with what it was put into.
  api::ExcludedMemory moved = std::move(first);
  api::ExcludedMemory& same = moved;
  moved = std::move(same);
  { api::ExcludedMemory gone = std::exchange(second, std::move(third)); }
  if (first || !moved || !second) return 7;  // NOLINT(bugprone-use-after-move)

  api::Snapshot snapshot;
  api::Service service;
  if (snapshot.set_directory(argv[1])) return 8;
  const api::Outcome outcome = service.checkpoint(0, snapshot);
  if (outcome.error()) {
    std::printf("%s\n", outcome.error().message().c_str());
    return 9;
  }
  const bool back = outcome.restarted();
  if (lives != (back ? 1 : 0)) return 10;
  if (!is(rebuilt.begin(), size, back ? 'r' : 'x') || !is(saved.begin(), size, 'x')) return 11;
  if (!is(zeros.begin(), 2 * page, back ? '\0' : 'x') || !is(zeros.begin() + 2 * page, page, 'x') ||
      !is(zeros.begin() + 3 * page, size - 3 * page, back ? '\0' : 'x'))
    return 12;
  if (moved.forget() || moved.forget() || moved) return 13;
  std::printf("%s\n", back ? "restarted" : outcome.continued() ? "continued" : "neither");
  return 0;
}
