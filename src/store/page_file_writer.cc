// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <vector>

#include "os/file_io.h"
#include "store/compression.h"
#include "store/page_file_layout.h"

namespace crs::store {
namespace {

constexpr std::uint64_t write_back_step = 32u << 20;

std::uint64_t round_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

// A place of `size` bytes that nobody else gets.
std::uint64_t reserve(std::atomic<std::uint64_t>& end, std::uint64_t size, std::uint64_t alignment) {
  std::uint64_t before = end.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t at = round_up(before, alignment);
    if (end.compare_exchange_weak(before, at + size, std::memory_order_relaxed)) return at;
  }
}

Error explain(Error error) {
  if (error.error_number() == ENOSPC || error.error_number() == EDQUOT) {
    error.set_hint("the disk is full: free space, or choose another place with --store or -o");
  }
  return error;
}

}  // namespace

struct PageFileWriter::State {
  OwnedFd fd;
  std::string name;
  PageFileOptions options;
  std::atomic<std::uint64_t> end{chunk_alignment};  // where the next chunk goes
  std::atomic<std::uint64_t> pushed{0};             // written back up to here
  std::mutex mutex;                                 // of the two lists
  std::vector<ChunkRecord> chunks;
  std::vector<PageRun> runs;
  bool finished = false;
};

PageFileWriter::PageFileWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
PageFileWriter::PageFileWriter(PageFileWriter&&) noexcept = default;
PageFileWriter& PageFileWriter::operator=(PageFileWriter&&) noexcept = default;
PageFileWriter::~PageFileWriter() = default;

Result<PageFileWriter> PageFileWriter::create(int directory, const std::string& name, const PageFileOptions& options) {
  auto state = std::make_unique<State>();
  CRS_TRY(state->fd, open_file_at(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (fchmod(state->fd.get(), 0600) != 0) return Error::from_errno(errno, "chmod " + name);
  state->name = name;
  state->options = options;
  return PageFileWriter(std::move(state));
}

Status PageFileWriter::write_chunk(std::span<const PageRun> runs, std::span<const std::byte> data) {
  State& state = *state_;
  ChunkRecord record{};
  for (const PageRun& run : runs) record.pages += run.pages;
  if (record.pages == 0 || record.pages > max_chunk_pages || record.pages * page_bytes != data.size()) {
    return Error(Errc::bug, "a chunk of " + std::to_string(data.size()) + " bytes");
  }
  record.checksum = checksum_of(data);
  const auto compressed = compress(state.options, data);
  const std::span<const std::byte> stored = compressed ? *compressed : data;
  record.codec = static_cast<std::uint8_t>(compressed ? state.options.codec : Codec::none);
  record.stored_bytes = static_cast<std::uint32_t>(stored.size());
  record.offset = reserve(state.end, stored.size(), compressed ? 64 : chunk_alignment);
  if (auto status = pwrite_all(state.fd.get(), stored, record.offset, state.name); !status) {
    return explain(std::move(status).error());
  }
  // Early write-back: the disk works while the next chunks are compressed, and the fsync at the end finds little.
  std::uint64_t pushed = state.pushed.load(std::memory_order_relaxed);
  if (record.offset >= pushed + write_back_step && state.pushed.compare_exchange_strong(pushed, record.offset)) {
    sync_file_range(state.fd.get(), static_cast<off64_t>(pushed), static_cast<off64_t>(record.offset - pushed),
                    SYNC_FILE_RANGE_WRITE);
  }
  const std::scoped_lock lock(state.mutex);
  record.first_run = static_cast<std::uint32_t>(state.runs.size());
  record.runs = static_cast<std::uint32_t>(runs.size());
  state.runs.insert(state.runs.end(), runs.begin(), runs.end());
  state.chunks.push_back(record);
  return ok();
}

Result<PageFileSummary> PageFileWriter::finish() {
  State& state = *state_;
  if (state.finished) return Error(Errc::bug, "a page file was finished twice");
  state.finished = true;
  PageFileHeader header{};
  header.magic = page_file_magic;
  header.version = format_version_of_pages;
  header.page_size = page_bytes;
  PageFileFooter footer{};
  footer.index_offset = round_up(state.end.load(), 64);
  footer.chunks = state.chunks.size();
  footer.runs = state.runs.size();
  for (const ChunkRecord& chunk : state.chunks) footer.raw_bytes += chunk.pages * page_bytes;
  footer.magic = page_file_end_magic;

  const auto chunk_bytes = std::as_bytes(std::span(state.chunks));
  const auto run_bytes = std::as_bytes(std::span(state.runs));
  Bytes index(chunk_bytes.begin(), chunk_bytes.end());
  index.insert(index.end(), run_bytes.begin(), run_bytes.end());
  footer.checksum = checksum_of(index);
  const std::uint64_t index_bytes = index.size();
  const auto footer_bytes = std::as_bytes(std::span(&footer, 1));
  index.insert(index.end(), footer_bytes.begin(), footer_bytes.end());
  auto status = pwrite_all(state.fd.get(), std::as_bytes(std::span(&header, 1)), 0, state.name);
  if (status) status = pwrite_all(state.fd.get(), index, footer.index_offset, state.name);
  if (!status) return explain(std::move(status).error());
  return PageFileSummary{footer.chunks, footer.raw_bytes, footer.index_offset + index.size(), index_bytes};
}

std::uint64_t PageFileWriter::stored_bytes() const { return state_->end.load(std::memory_order_relaxed); }

}  // namespace crs::store
