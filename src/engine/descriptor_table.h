// DescriptorTable: which descriptor numbers exist, which open file description each refers to, and which kind
// of file that is.
//
// What this file knows
//   Descriptors that share one description are found by kcmp(2) (KCMP_FILE), sorted candidates only (same
//   device, inode, position, flags), never every pair. pidfd_getfd(2) gives us our own copy of each
//   description. Each description is claimed by exactly one ResourceKind (claims()); one that nobody claims
//   is a blocker that names descriptor, path and remedy. Restore has two halves: create() makes every
//   description at a number above all that matter, install() closes everything else and moves each to its
//   numbers: after it nothing of the restorer's own is open but what it was told.
// What it leaves to others
//   What is behind a description (the kinds).
//
// Kernel interfaces: proc(5) fd and fdinfo, pidfd_getfd(2), kcmp(2), dup3(2), close_range(2).
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/resource_kind.h"

namespace crs {

// A kind with its section name, as the engine made it for this operation.
struct ActiveKind {
  const KindInfo* info = nullptr;
  std::unique_ptr<ResourceKind> kind;
};

class DescriptorTable {
 public:
  DescriptorTable();
  DescriptorTable(DescriptorTable&&) noexcept;
  DescriptorTable& operator=(DescriptorTable&&) noexcept;
  ~DescriptorTable();

  static constexpr std::string_view section = "descriptors";

  // --- Checkpoint: finds all descriptions, lets their kinds collect them.
  Status collect(CollectContext& context, std::span<const ActiveKind> kinds);
  Result<std::string> save() const;

  // --- Restart.
  Status load(std::string_view bytes);
  Status check(CheckContext& context, std::span<const ActiveKind> kinds);
  // In the forked copy. Makes every description (through its kind, or by the user's --fd / --stdio), each at
  // a number that no saved descriptor has and that is not open now. Raises the soft RLIMIT_NOFILE as far as
  // the hard one for that.
  Status create(InsideContext& context, std::span<const ActiveKind> kinds);
  // The last act inside: closes everything but the created descriptions and `keep` (which must be aside:
  // see two_numbers_aside()), then gives each description its numbers and close-on-exec flags.
  Status install(std::span<const int> keep);
  // All its numbers are given by --fd or --stdio.
  bool is_replaced(std::uint32_t description, const RestoreOptions& options) const;
  // Two numbers, ascending, that no saved descriptor has and that are not open now. errors: refused.
  Result<std::pair<int, int>> two_numbers_aside() const;

  std::set<int> numbers() const;                                      // of all descriptors, after load()
  std::optional<RemoteFd> first_of(std::uint32_t description) const;  // its lowest number

  nlohmann::json describe(std::span<const ActiveKind> kinds) const;
  std::uint64_t count() const;  // descriptors

 private:
  Status create_given(const InsideContext& context);
  int first_free() const;  // one above the highest saved descriptor number, at least 3
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace crs
