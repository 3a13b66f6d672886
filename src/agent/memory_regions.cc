// SPDX-License-Identifier: Apache-2.0
// The table of this process lives here: a checkpointer finds it by the control page, and all threads share
// it.
#include "agent/memory_regions.h"

#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "agent/critical_sections.h"
#include "agent/forks.h"
#include "agent/hooks.h"
#include "gate/memory_table.h"
#include "os/ids.h"

namespace crs::agent::memory {
namespace {

std::mutex mutex;  // of all changes of the table
std::uint32_t rebuilt_rows = 0;

constexpr std::uint32_t first_capacity = 2 * page_size / sizeof(MemoryRow) - 1;
constexpr std::uint64_t user_space_end = 0x7ffffffff000;

MemoryTable* current() {
  return reinterpret_cast<MemoryTable*>(control_page()->memory.load());  // NOLINT(performance-no-int-to-ptr)
}

MemoryRow* rows_of(MemoryTable& table) {
  return reinterpret_cast<MemoryRow*>(&table + 1);
}

std::size_t size_of(std::uint32_t capacity) {
  return (std::size_t{capacity} + 1) * sizeof(MemoryRow);
}

void publish(MemoryTable* table) {
  control_page()->memory.store(reinterpret_cast<std::uint64_t>(table));
}

MemoryUse use_of(const MemoryRow& row) {
  return static_cast<MemoryUse>(row.use.load());
}

// Everything but whether it is in use, which is stored when all of it is there.
struct NewRow {
  MemoryUse use;
  const char* label;
  std::uint64_t start, bytes, rebuild, context;
};

void fill(MemoryRow& row, const NewRow& with, std::uint64_t id) {
  row.id = id;
  row.start = with.start;
  row.bytes = with.bytes;
  row.rebuild = with.rebuild;
  row.context = with.context;
  std::snprintf(row.label, sizeof row.label, "%s", with.label);
  row.use.store(static_cast<std::uint32_t>(with.use));
}

Result<MemoryTable*> make_table(std::uint32_t capacity) {
  void* const at =
      mmap(nullptr, size_of(capacity), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return Error::from_errno(errno, "make room for the memory regions");
  auto* const table = new (at) MemoryTable;
  table->capacity = capacity;
  return table;
}

// Twice as large, with the same rows at the same indexes.
Result<MemoryTable*> grow(MemoryTable& old) {
  if (old.capacity >= max_memory_rows)
    return Error(Errc::refused,
                 "a program has at most " + std::to_string(max_memory_rows) + " memory regions");
  CRS_TRY(MemoryTable* const table, make_table(std::min(2 * old.capacity + 1, max_memory_rows)));
  for (std::uint32_t index = 0; index < old.rows.load(); ++index) {
    const MemoryRow& from = rows_of(old)[index];
    MemoryRow& to = *new (&rows_of(*table)[index]) MemoryRow;
    fill(to, {use_of(from), from.label, from.start, from.bytes, from.rebuild, from.context}, from.id);
    to.next_unused = from.next_unused;
  }
  table->next_unused = old.next_unused;
  table->last_id = old.last_id;
  table->rows.store(old.rows.load());
  publish(table);
  munmap(&old, size_of(old.capacity));
  return table;
}

// With the mutex held.
Result<std::uint64_t> add(const NewRow& with) {
  MemoryTable* table = current();
  std::uint32_t index = table->next_unused;  // 1 + index
  if (index != 0) {
    table->next_unused = rows_of(*table)[--index].next_unused;
  } else {
    if (table->rows.load() == table->capacity) {
      CRS_TRY(table, grow(*table));
    }
    index = table->rows.load();
    new (&rows_of(*table)[index]) MemoryRow;
    table->rows.store(index + 1);
  }
  // Ascending in time; its lower bits find the row.
  const std::uint64_t id = ++table->last_id * max_memory_rows + index;
  fill(rows_of(*table)[index], with, id);
  return id;
}

// What libcrs writes to lies in the program's memory, and is not the program's to leave out.
int find_own_data(dl_phdr_info* info, std::size_t /*unused*/, void* into) {
  const auto own = reinterpret_cast<std::uint64_t>(&mutex);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    const std::uint64_t start = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD || own < start || own - start >= segment.p_memsz) continue;
    auto& row = *static_cast<NewRow*>(into);
    row.start = start;
    row.bytes = segment.p_memsz;
    return 1;
  }
  return 0;
}

// With the mutex held.
Status ensure_table() {
  if (current() == nullptr) {
    CRS_TRY(MemoryTable* const table, make_table(first_capacity));
    publish(table);
  }
  if (current()->rows.load() != 0) return ok();
  NewRow own{MemoryUse::include, "libcrs", 0, 0, 0, 0};
  if (dl_iterate_phdr(find_own_data, &own) != 0) CRS_CHECK(add(own));
  return ok();
}

Result<std::uint64_t> add_region(NewRow row, const void* pointer, std::size_t bytes) {
  row.start = reinterpret_cast<std::uint64_t>(pointer);
  row.bytes = bytes;
  if (row.label == nullptr || pointer == nullptr || bytes == 0)
    return Error(Errc::usage, "a memory region has a label, an address and a size");
  if (row.start >= user_space_end || bytes > user_space_end - row.start)
    return Error(Errc::usage,
                 "memory region '" + std::string(row.label) + "' reaches out of the address space");
  const std::scoped_lock lock(mutex);
  CRS_CHECK(ensure_table());
  if (row.rebuild == 0) return add(row);
  CRS_CHECK(keep_thread(true));
  auto id = add(row);
  if (id) {
    ++rebuilt_rows;
  } else if (rebuilt_rows == 0) {
    (void)keep_thread(false);
  }
  return id;
}

}  // namespace

constinit const ForkPart at_fork{[] { mutex.lock(); }, [] { mutex.unlock(); },
                                 [] { new (&mutex) std::mutex; }};

Result<std::uint64_t> exclude(const char* label, const void* pointer, std::size_t bytes,
                              crs_memory_rebuild rebuild, void* context) {
  return add_region({MemoryUse::exclude, label, 0, 0, reinterpret_cast<std::uint64_t>(rebuild),
                     reinterpret_cast<std::uint64_t>(context)},
                    pointer, bytes);
}

Result<std::uint64_t> include(const char* label, const void* pointer, std::size_t bytes) {
  return add_region({MemoryUse::include, label, 0, 0, 0, 0}, pointer, bytes);
}

Status forget(std::uint64_t id) {
  const std::scoped_lock lock(mutex);
  MemoryTable* const table = current();
  const auto index = static_cast<std::uint32_t>(id % max_memory_rows);
  if (table == nullptr || index >= table->rows.load() || rows_of(*table)[index].id != id ||
      use_of(rows_of(*table)[index]) == MemoryUse::unused)
    return Error(Errc::usage, "there is no memory region " + std::to_string(id));
  MemoryRow& row = rows_of(*table)[index];
  row.use.store(static_cast<std::uint32_t>(MemoryUse::unused));
  row.next_unused = table->next_unused;
  table->next_unused = index + 1;
  if (row.rebuild != 0 && --rebuilt_rows == 0) return keep_thread(false);
  return ok();
}

void forget_all() {
  const std::scoped_lock lock(mutex);
  MemoryTable* const table = current();
  if (table == nullptr) return;
  // The ids go on, so that one of an earlier life finds nothing.
  for (std::uint32_t index = 0; index < table->rows.load(); ++index)
    rows_of(*table)[index].use.store(static_cast<std::uint32_t>(MemoryUse::unused));
  table->next_unused = 0;
  table->rows.store(0);
  rebuilt_rows = 0;
  (void)keep_thread(false);
}

Status arm() {
  const std::scoped_lock lock(mutex);
  return rebuilt_rows != 0 ? keep_thread(true) : ok();
}

namespace {

// Those that are to be rebuilt, by id. Not from the heap: its lock may be held by a thread that does not run
// yet.
class RebuiltRows {
 public:
  explicit RebuiltRows(MemoryTable& table) : bytes_(table.rows.load() * sizeof(void*)) {
    void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return;
    first_ = static_cast<MemoryRow**>(at);
    for (std::uint32_t index = 0; index < table.rows.load(); ++index) {
      MemoryRow& row = rows_of(table)[index];
      if (use_of(row) == MemoryUse::exclude && row.rebuild != 0) first_[count_++] = &row;
    }
    std::ranges::sort(all(), {}, &MemoryRow::id);
  }
  RebuiltRows(const RebuiltRows&) = delete;
  RebuiltRows& operator=(const RebuiltRows&) = delete;
  ~RebuiltRows() {
    if (first_ != nullptr) munmap(first_, bytes_);
  }
  bool good() const { return first_ != nullptr; }
  std::span<MemoryRow*> all() const { return {first_, count_}; }

 private:
  std::size_t bytes_;
  MemoryRow** first_ = nullptr;
  std::size_t count_ = 0;
};

Turn refuse(ControlPage& page, const char* label, int answer) {
  page.code = static_cast<std::int32_t>(Errc::refused);
  std::snprintf(page.message, sizeof page.message,
                "the program's function that rebuilds memory '%s' answered %d", label, answer);
  return Turn::refused;
}

}  // namespace

Turn rebuild(ControlPage& page) {
  MemoryTable* const table = current();
  const RebuiltRows rows(*table);
  if (!rows.good()) return refuse(page, "(all)", -ENOMEM);
  for (const MemoryRow* row : rows.all()) {
    std::memcpy(page.rebuilding, row->label, sizeof page.rebuilding);
    const auto function = reinterpret_cast<crs_memory_rebuild>(row->rebuild);
    void* const pointer = reinterpret_cast<void*>(row->start);    // NOLINT(performance-no-int-to-ptr)
    void* const context = reinterpret_cast<void*>(row->context);  // NOLINT(performance-no-int-to-ptr)
    const int answer = function(pointer, row->bytes, context);
    if (answer != 0) return refuse(page, row->label, answer);
  }
  page.rebuilding[0] = '\0';
  return static_cast<Turn>(page.after_rebuild);
}

}  // namespace crs::agent::memory
