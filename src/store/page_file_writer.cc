// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <tuple>
#include <vector>

#include "os/file_io.h"
#include "store/compression.h"
#include "store/directory.h"
#include "store/page_file_layout.h"

namespace crs::store {
namespace {

constexpr std::uint64_t write_back_step = 32u << 20;

std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
  return (value + to - 1) / to * to;
}

}  // namespace

struct PageFileWriter::State {
  OwnedFd fd;
  std::string path;  // for messages
  PageFileOptions options;
  std::atomic<std::uint64_t> end{chunk_alignment};  // where the next chunk goes; changed under the mutex
  std::atomic<std::uint64_t> pushed{0};             // written back up to here
  std::atomic<bool> failed{false};                  // a chunk is missing: there must be no index
  std::mutex mutex;                                 // of the two lists
  std::vector<ChunkRecord> chunks;                  // ascending by offset
  std::vector<PageRun> runs;
  bool finished = false;

  Status write(std::span<const std::byte> data, std::uint64_t offset);
  void reserve(ChunkRecord& record, std::span<const PageRun> of_chunk, std::uint64_t alignment);
  void push_out(std::uint64_t offset);
  Status check_runs_are_apart();
};

PageFileWriter::PageFileWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
PageFileWriter::PageFileWriter(PageFileWriter&&) noexcept = default;
PageFileWriter& PageFileWriter::operator=(PageFileWriter&&) noexcept = default;
PageFileWriter::~PageFileWriter() = default;

Result<PageFileWriter> PageFileWriter::create(int directory, const std::string& name,
                                              const PageFileOptions& options) {
  CRS_CHECK(check_level(options));
  auto state = std::make_unique<State>();
  state->path = path_in(directory, name);
  auto fd = open_file_at(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!fd) return explain(std::move(fd).error());
  state->fd = std::move(*fd);
  if (fchmod(state->fd.get(), 0600) != 0)
    return Error::from_errno(errno, "chmod " + state->path, Errc::storage);
  state->options = options;
  return PageFileWriter(std::move(state));
}

Status PageFileWriter::State::write(std::span<const std::byte> data, std::uint64_t offset) {
  auto status = pwrite_all(fd.get(), data, offset, path);
  if (status) return ok();
  failed = true;
  return explain(std::move(status).error());
}

// Gives the chunk a place of its own, and lists it: so the list is in the order of the file.
void PageFileWriter::State::reserve(ChunkRecord& record, std::span<const PageRun> of_chunk,
                                    std::uint64_t alignment) {
  const std::scoped_lock lock(mutex);
  record.offset = round_up(end.load(std::memory_order_relaxed), alignment);
  record.first_run = static_cast<std::uint32_t>(runs.size());
  record.runs = static_cast<std::uint32_t>(of_chunk.size());
  runs.insert(runs.end(), of_chunk.begin(), of_chunk.end());
  chunks.push_back(record);
  end.store(record.offset + record.stored_bytes, std::memory_order_relaxed);
}

// Early write-back: the disk works while the next chunks are compressed, and the fsync at the end finds
// little.
void PageFileWriter::State::push_out(std::uint64_t offset) {
  std::uint64_t from = pushed.load(std::memory_order_relaxed);
  if (offset < from + write_back_step || !pushed.compare_exchange_strong(from, offset)) return;
  sync_file_range(fd.get(), static_cast<off64_t>(from), static_cast<off64_t>(offset - from),
                  SYNC_FILE_RANGE_WRITE);
}

Status PageFileWriter::write_chunk(std::span<const PageRun> runs, std::span<const std::byte> data) {
  State& state = *state_;
  ChunkRecord record{};
  std::uint64_t pages = 0;
  bool aligned = true;
  for (const PageRun& run : runs) {
    pages += run.pages;
    aligned = aligned && run.pages != 0 && run.address % page_bytes == 0 && run.address <= highest_address;
  }
  if (pages == 0 || pages > max_chunk_pages || pages * page_bytes != data.size() || !aligned) {
    return Error(Errc::bug, "a chunk of " + std::to_string(data.size()) + " bytes for " +
                                std::to_string(pages) + " pages");
  }
  record.pages = static_cast<std::uint32_t>(pages);
  record.checksum = checksum_of(data);
  const auto compressed = compress(state.options, data);
  const std::span<const std::byte> stored = compressed ? *compressed : data;
  record.codec = static_cast<std::uint8_t>(compressed ? state.options.codec : Codec::none);
  record.stored_bytes = static_cast<std::uint32_t>(stored.size());
  if (compressed) record.stored_checksum = checksum_of(stored);
  state.reserve(record, runs, compressed ? compressed_alignment : chunk_alignment);
  CRS_CHECK(state.write(stored, record.offset));
  state.push_out(record.offset);
  return ok();
}

// A page that was written twice would make a file that no reader takes: better to hear of it now. Sorts the
// runs.
Status PageFileWriter::State::check_runs_are_apart() {
  std::ranges::sort(runs, {}, [](const PageRun& run) { return std::tuple(run.space, run.address); });
  for (std::size_t i = 1; i < runs.size(); ++i) {
    const PageRun& before = runs[i - 1];
    if (before.space == runs[i].space && before.address + before.pages * page_bytes > runs[i].address) {
      return Error(Errc::bug, "the page at " + std::to_string(runs[i].address) + " of space " +
                                  std::to_string(runs[i].space) + " was written twice");
    }
  }
  return ok();
}

Result<PageFileSummary> PageFileWriter::finish() {
  State& state = *state_;
  if (state.finished) return Error(Errc::bug, "a page file was finished twice");
  state.finished = true;
  if (state.failed) return Error(Errc::storage, state.path + ": a part of it could not be written");
  PageFileHeader header{};
  header.magic = page_file_magic;
  header.version = format_version_of_pages;
  header.page_size = page_bytes;
  CRS_CHECK(state.write(std::as_bytes(std::span(&header, 1)), 0));

  PageFileFooter footer{};
  footer.index_offset = round_up(state.end.load(), index_alignment);
  footer.chunks = state.chunks.size();
  footer.runs = state.runs.size();
  for (const ChunkRecord& chunk : state.chunks) footer.raw_bytes += chunk.pages * page_bytes;
  const auto chunk_bytes = std::as_bytes(std::span(state.chunks));
  const auto run_bytes = std::as_bytes(std::span(state.runs));
  Checksummer sum;
  sum.add(chunk_bytes);
  sum.add(run_bytes);
  footer.checksum = sum.result();
  footer.magic = page_file_end_magic;
  const std::uint64_t footer_offset = footer.index_offset + chunk_bytes.size() + run_bytes.size();
  CRS_CHECK(state.write(chunk_bytes, footer.index_offset));
  CRS_CHECK(state.write(run_bytes, footer.index_offset + chunk_bytes.size()));
  CRS_CHECK(state.write(std::as_bytes(std::span(&footer, 1)), footer_offset));
  CRS_CHECK(state.check_runs_are_apart());
  return PageFileSummary{footer.chunks, footer.raw_bytes, footer_offset + sizeof footer,
                         chunk_bytes.size() + run_bytes.size()};
}

std::uint64_t PageFileWriter::stored_bytes() const {
  return state_->end.load(std::memory_order_relaxed);
}

}  // namespace crs::store
