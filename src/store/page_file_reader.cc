// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <vector>

#include "os/file_io.h"
#include "store/compression.h"
#include "store/page_file_layout.h"

namespace crs::store {
namespace {

constexpr std::uint64_t most_chunks = 1ull << 32;
constexpr std::uint64_t most_runs = 1ull << 32;

bool all_zero(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

struct PageFileReader::State {
  OwnedFd fd;
  std::string name;
  std::uint64_t size = 0;
  std::uint64_t pages = 0;
  std::vector<ChunkRecord> chunks;
  std::vector<PageRun> runs;

  Error bad(std::string what) const { return Error(Errc::bad_snapshot, name + ": " + std::move(what)); }
  Status read_index();
  Status check_chunks() const;
  Status check_runs() const;
};

PageFileReader::PageFileReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
PageFileReader::PageFileReader(PageFileReader&&) noexcept = default;
PageFileReader& PageFileReader::operator=(PageFileReader&&) noexcept = default;
PageFileReader::~PageFileReader() = default;

Status PageFileReader::State::read_index() {
  PageFileHeader header{};
  PageFileFooter footer{};
  if (size < sizeof header + sizeof footer) return bad("it is cut short (" + std::to_string(size) + " bytes)");
  CRS_CHECK(pread_exact(fd.get(), std::as_writable_bytes(std::span(&header, 1)), 0, name));
  CRS_CHECK(pread_exact(fd.get(), std::as_writable_bytes(std::span(&footer, 1)), size - sizeof footer, name));
  if (header.magic != page_file_magic) return bad("it is no page file");
  if (header.version > format_version_of_pages) {
    return bad("it has format " + std::to_string(header.version) + ", this crs reads up to " +
               std::to_string(format_version_of_pages))
        .with_hint("use a newer crs");
  }
  if (header.page_size != page_bytes || !all_zero(header.reserved)) return bad("its header is damaged");
  if (footer.magic != page_file_end_magic) return bad("its end is missing: it was cut short or damaged");
  if (footer.chunks > most_chunks || footer.runs > most_runs || footer.reserved != 0) return bad("its footer is damaged");
  const std::uint64_t index_bytes = footer.chunks * sizeof(ChunkRecord) + footer.runs * sizeof(PageRun);
  if (footer.index_offset > size || index_bytes > size ||
      footer.index_offset + index_bytes + sizeof footer != size) {
    return bad("its length does not fit its index");
  }
  Bytes index(index_bytes);
  CRS_CHECK(pread_exact(fd.get(), index, footer.index_offset, name));
  if (checksum_of(index) != footer.checksum) return bad("its index is damaged (checksum)");
  chunks.resize(footer.chunks);
  runs.resize(footer.runs);
  const std::size_t chunk_bytes = footer.chunks * sizeof(ChunkRecord);
  if (!chunks.empty()) std::memcpy(chunks.data(), index.data(), chunk_bytes);
  if (!runs.empty()) std::memcpy(runs.data(), index.data() + chunk_bytes, index_bytes - chunk_bytes);
  std::uint64_t raw = 0;
  for (const ChunkRecord& chunk : chunks) raw += chunk.pages * page_bytes;
  if (raw != footer.raw_bytes) return bad("its footer does not fit its index");
  pages = raw / page_bytes;
  size = footer.index_offset;
  CRS_CHECK(check_chunks());
  return check_runs();
}

Status PageFileReader::State::check_chunks() const {
  std::uint64_t next_run = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const ChunkRecord& chunk : chunks) {
    const std::uint64_t raw = chunk.pages * page_bytes;
    if (chunk.pages == 0 || chunk.pages > max_chunk_pages || chunk.runs == 0 || chunk.first_run != next_run ||
        chunk.runs > runs.size() - next_run) {
      return bad("a chunk is impossible");
    }
    next_run += chunk.runs;
    if (chunk.codec > static_cast<std::uint8_t>(Codec::lz4) || !all_zero(chunk.reserved) || !all_zero(chunk.padding)) {
      return bad("a chunk has an unknown form");
    }
    const bool plain = chunk.codec == static_cast<std::uint8_t>(Codec::none);
    if (chunk.stored_bytes == 0 || (plain ? chunk.stored_bytes != raw : chunk.stored_bytes >= raw)) {
      return bad("a chunk has an impossible size");
    }
    if (chunk.offset < sizeof(PageFileHeader) || chunk.offset > size || chunk.stored_bytes > size - chunk.offset) {
      return bad("a chunk lies outside of the file");
    }
    std::uint64_t in_runs = 0;
    for (std::uint32_t i = 0; i < chunk.runs; ++i) in_runs += runs[chunk.first_run + i].pages;
    if (in_runs != chunk.pages) return bad("a chunk does not fit its pages");
    ranges.emplace_back(chunk.offset, chunk.offset + chunk.stored_bytes);
  }
  if (next_run != runs.size()) return bad("pages without a chunk");
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) return bad("two chunks overlap");
  }
  return ok();
}

Status PageFileReader::State::check_runs() const {
  std::vector<PageRun> sorted = runs;
  std::ranges::sort(sorted, {}, [](const PageRun& run) { return std::tuple(run.space, run.address); });
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const PageRun& run = sorted[i];
    if (run.address % page_bytes != 0 || run.pages == 0 || run.address > (1ull << 62)) return bad("impossible pages");
    if (i > 0 && sorted[i - 1].space == run.space &&
        sorted[i - 1].address + sorted[i - 1].pages * page_bytes > run.address) {
      return bad("the same page twice");
    }
  }
  return ok();
}

Result<PageFileReader> PageFileReader::open(int directory, const std::string& name) {
  auto state = std::make_unique<State>();
  CRS_TRY(state->fd, open_file_at(directory, name, O_RDONLY | O_NOFOLLOW));
  state->name = name;
  struct stat status {};
  if (fstat(state->fd.get(), &status) != 0) return Error::from_errno(errno, "stat " + name);
  if (!S_ISREG(status.st_mode)) return state->bad("it is no regular file");
  state->size = static_cast<std::uint64_t>(status.st_size);
  CRS_CHECK(state->read_index());
  return PageFileReader(std::move(state));
}

std::size_t PageFileReader::chunk_count() const { return state_->chunks.size(); }
std::uint64_t PageFileReader::total_pages() const { return state_->pages; }
std::uint64_t PageFileReader::stored_bytes() const { return state_->size; }
int PageFileReader::fd() const { return state_->fd.get(); }

PageFileReader::Chunk PageFileReader::chunk(std::size_t index) const {
  const ChunkRecord& record = state_->chunks[index];
  return {std::span(state_->runs).subspan(record.first_run, record.runs), record.pages, record.offset,
          record.stored_bytes, static_cast<Codec>(record.codec)};
}

Status PageFileReader::read_chunk(std::size_t index, std::span<const std::span<std::byte>> into) const {
  const State& state = *state_;
  const ChunkRecord& record = state.chunks[index];
  const auto damaged = [&] {
    return state.bad("pages at offset " + std::to_string(record.offset) + " are damaged (checksum)")
        .with_hint("use an older snapshot of the job: crs list");
  };
  if (record.codec == static_cast<std::uint8_t>(Codec::none)) {
    std::uint64_t offset = record.offset;
    if (into.size() == 1) {
      CRS_CHECK(pread_exact(state.fd.get(), into[0], offset, state.name));
    } else {
      thread_local std::vector<iovec> pieces;
      pieces.clear();
      for (const auto piece : into) pieces.push_back({piece.data(), piece.size()});
      const ssize_t got = preadv(state.fd.get(), pieces.data(), static_cast<int>(pieces.size()), static_cast<off_t>(offset));
      if (got != static_cast<ssize_t>(record.stored_bytes)) {
        for (const auto piece : into) {
          CRS_CHECK(pread_exact(state.fd.get(), piece, offset, state.name));
          offset += piece.size();
        }
      }
    }
    if (checksum_of(into) != record.checksum) return damaged();
    return ok();
  }
  thread_local Bytes stored;
  thread_local Bytes raw;
  stored.resize(std::max<std::size_t>(stored.size(), record.stored_bytes));
  const auto data = std::span(stored).first(record.stored_bytes);
  CRS_CHECK(pread_exact(state.fd.get(), data, record.offset, state.name));
  const auto codec = static_cast<Codec>(record.codec);
  if (into.size() == 1) {
    if (!decompress(codec, data, into[0]) || checksum_of(into) != record.checksum) return damaged();
    return ok();
  }
  raw.resize(max_chunk_pages * page_bytes);
  const auto whole = std::span(raw).first(record.pages * page_bytes);
  if (!decompress(codec, data, whole) || checksum_of(std::span<const std::byte>(whole)) != record.checksum) return damaged();
  std::size_t at = 0;
  for (const auto piece : into) {
    std::memcpy(piece.data(), whole.data() + at, piece.size());
    at += piece.size();
  }
  return ok();
}

Status PageFileReader::verify(unsigned threads) const {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Error> failure;
  const auto work = [&] {
    Bytes buffer(max_chunk_pages * page_bytes);
    for (;;) {
      const std::size_t index = next.fetch_add(1);
      if (index >= chunk_count()) return;
      const std::span<std::byte> whole = std::span(buffer).first(state_->chunks[index].pages * page_bytes);
      auto status = read_chunk(index, std::span(&whole, 1));
      if (status) continue;
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::move(status).error();
      return;
    }
  };
  {
    std::vector<std::jthread> workers;
    for (unsigned i = 1; i < std::max(threads, 1u); ++i) workers.emplace_back(work);
    work();
  }
  if (failure) return std::move(*failure);
  return ok();
}

}  // namespace crs::store
