// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
#include "store/directory.h"
#include "store/page_file_layout.h"

namespace crs::store {
namespace {

constexpr std::uint64_t most_records = 1ull << 32;  // of each sort
constexpr std::size_t records_at_once = 4096;

bool all_zero(std::span<const std::uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

struct PageFileReader::State {
  OwnedFd fd;
  std::string name;        // with its path, for messages
  std::uint64_t size = 0;  // up to the index
  std::uint64_t pages = 0;
  std::vector<ChunkRecord> chunks;
  std::vector<PageRun> runs;

  Error bad(std::string what) const { return Error(Errc::bad_snapshot, name + ": " + std::move(what)); }
  Status read_ends(std::uint64_t file_bytes, PageFileFooter& footer) const;
  Status read_index(const PageFileFooter& footer);
  template <class Record, class Check>
  Status read_records(std::vector<Record>& into, std::uint64_t count, std::uint64_t offset, Checksummer& sum,
                      Check check) const;
  Status check_chunk(const ChunkRecord& chunk, std::uint64_t next_run, std::uint64_t end,
                     std::uint64_t run_count) const;
  Status check_runs() const;
  Status check_gaps() const;
  Status read_raw(const ChunkRecord& record, std::span<const std::span<std::byte>> into) const;
  Status read_compressed(const ChunkRecord& record, std::span<const std::span<std::byte>> into) const;
  // `into` holds all pages of the chunk, in as many pieces as the caller likes (at most max_chunk_pages).
  Status read_checked(const ChunkRecord& record, std::span<const std::span<std::byte>> into) const;
  Status check_stored(const ChunkRecord& record, std::span<std::byte> buffer) const;
  Error damaged(const ChunkRecord& record, const Status& reading) const;
};

PageFileReader::PageFileReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
PageFileReader::PageFileReader(PageFileReader&&) noexcept = default;
PageFileReader& PageFileReader::operator=(PageFileReader&&) noexcept = default;
PageFileReader::~PageFileReader() = default;

// Header and footer, and that the file is as long as they say.
Status PageFileReader::State::read_ends(std::uint64_t file_bytes, PageFileFooter& footer) const {
  PageFileHeader header{};
  if (file_bytes < sizeof header + sizeof footer) {
    return bad("it was cut short (it has " + std::to_string(file_bytes) + " bytes)");
  }
  CRS_CHECK(pread_exact(fd.get(), std::as_writable_bytes(std::span(&header, 1)), 0, name));
  CRS_CHECK(
      pread_exact(fd.get(), std::as_writable_bytes(std::span(&footer, 1)), file_bytes - sizeof footer, name));
  if (header.magic != page_file_magic) return bad("it is no page file, or damaged at its start");
  if (header.version > format_version_of_pages) {
    return bad("it has format version " + std::to_string(header.version) + ", this crs reads up to version " +
               std::to_string(format_version_of_pages))
        .with_hint("use a newer crs");
  }
  if (header.version == 0 || header.page_size != page_bytes || !all_zero(header.reserved)) {
    return bad("its header is damaged");
  }
  if (footer.magic != page_file_end_magic) return bad("its end is missing: it was cut short or damaged");
  if (footer.chunks > most_records || footer.runs > most_records || footer.reserved != 0) {
    return bad("its footer is damaged");
  }
  const std::uint64_t index_bytes = footer.chunks * sizeof(ChunkRecord) + footer.runs * sizeof(PageRun);
  if (footer.index_offset < sizeof header || footer.index_offset > file_bytes || index_bytes > file_bytes ||
      footer.index_offset + index_bytes + sizeof footer != file_bytes) {
    return bad("its length does not fit its index");
  }
  return ok();
}

// Reads and checks piece by piece: an index that claims to be huge is found out before much memory is asked
// for.
template <class Record, class Check>
Status PageFileReader::State::read_records(std::vector<Record>& into, std::uint64_t count,
                                           std::uint64_t offset, Checksummer& sum, Check check) const {
  while (into.size() < count) {
    const std::size_t before = into.size();
    into.resize(before + std::min<std::uint64_t>(records_at_once, count - before));
    const auto piece = std::span(into).subspan(before);
    CRS_CHECK(pread_exact(fd.get(), std::as_writable_bytes(piece), offset + before * sizeof(Record), name));
    sum.add(std::as_bytes(piece));
    for (const Record& record : piece) CRS_CHECK(check(record));
  }
  return ok();
}

Status PageFileReader::State::read_index(const PageFileFooter& footer) {
  size = footer.index_offset;
  Checksummer sum;
  std::uint64_t next_run = 0, end = sizeof(PageFileHeader);
  const auto take_chunk = [&](const ChunkRecord& chunk) {
    auto status = check_chunk(chunk, next_run, end, footer.runs);
    next_run += chunk.runs;
    end = chunk.offset + chunk.stored_bytes;
    pages += chunk.pages;
    return status;
  };
  const auto take_run = [&](const PageRun& run) {
    const bool possible = run.pages != 0 && run.pages <= max_chunk_pages && run.address % page_bytes == 0 &&
                          run.address <= highest_address;
    return possible ? ok() : Status(bad("its index is damaged: impossible pages"));
  };
  CRS_CHECK(read_records(chunks, footer.chunks, size, sum, take_chunk));
  CRS_CHECK(read_records(runs, footer.runs, size + footer.chunks * sizeof(ChunkRecord), sum, take_run));
  if (sum.result() != footer.checksum) return bad("its index is damaged (checksum)");
  if (next_run != runs.size() || pages * page_bytes != footer.raw_bytes)
    return bad("its footer does not fit its index");
  if (end > size || size - end >= chunk_alignment) return bad("its index is not behind its chunks");
  return check_runs();
}

Status PageFileReader::State::check_chunk(const ChunkRecord& chunk, std::uint64_t next_run, std::uint64_t end,
                                          std::uint64_t run_count) const {
  const auto impossible = [&](const char* what) {
    return bad(std::string("its index is damaged: a chunk ") + what);
  };
  const std::uint64_t raw = chunk.pages * page_bytes;
  if (chunk.pages == 0 || chunk.pages > max_chunk_pages)
    return impossible("of an impossible number of pages");
  if (chunk.runs == 0 || chunk.runs > chunk.pages || chunk.first_run != next_run ||
      chunk.runs > run_count - next_run) {
    return impossible("with impossible runs");
  }
  if (chunk.codec > static_cast<std::uint8_t>(Codec::lz4) || !all_zero(chunk.reserved)) {
    return impossible("of an unknown form");
  }
  const bool plain = chunk.codec == static_cast<std::uint8_t>(Codec::none);
  if (chunk.stored_bytes == 0 || (plain ? chunk.stored_bytes != raw : chunk.stored_bytes >= raw)) {
    return impossible("of an impossible size");
  }
  if (plain && chunk.stored_checksum != Hash128{}) return impossible("of an unknown form");
  if (plain && chunk.offset % chunk_alignment != 0) return impossible("that is not aligned");
  // In the order of the file, with nothing but padding between them.
  if (chunk.offset < end || chunk.offset - end >= chunk_alignment)
    return impossible("at an impossible place");
  if (chunk.offset > size || chunk.stored_bytes > size - chunk.offset)
    return impossible("that lies outside of the file");
  return ok();
}

Status PageFileReader::State::check_runs() const {
  for (const ChunkRecord& chunk : chunks) {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < chunk.runs; ++i) sum += runs[chunk.first_run + i].pages;
    if (sum != chunk.pages) return bad("its index is damaged: a chunk does not fit its pages");
  }
  std::vector<PageRun> sorted = runs;
  std::ranges::sort(sorted, {}, [](const PageRun& run) { return std::tuple(run.space, run.address); });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    const PageRun& before = sorted[i - 1];
    if (before.space == sorted[i].space && before.address + before.pages * page_bytes > sorted[i].address) {
      return bad("its index is damaged: the same page twice");
    }
  }
  return ok();
}

// Padding carries nothing, but a bit that flipped there tells of a disk that is failing.
Status PageFileReader::State::check_gaps() const {
  std::array<std::uint8_t, chunk_alignment> buffer;
  std::uint64_t end = sizeof(PageFileHeader);
  const auto check = [&](std::uint64_t next) -> Status {
    const auto gap = std::span(buffer).first(next - end);
    CRS_CHECK(pread_exact(fd.get(), std::as_writable_bytes(gap), end, name));
    return all_zero(gap) ? ok()
                         : Status(bad("it is damaged between two chunks, at offset " + std::to_string(end)));
  };
  for (const ChunkRecord& chunk : chunks) {
    CRS_CHECK(check(chunk.offset));
    end = chunk.offset + chunk.stored_bytes;
  }
  return check(size);
}

Result<PageFileReader> PageFileReader::open(int directory, const std::string& name) {
  auto state = std::make_unique<State>();
  CRS_TRY(state->fd, open_file_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  state->name = path_in(directory, name);
  struct stat status {};
  if (fstat(state->fd.get(), &status) != 0) return Error::from_errno(errno, "stat " + state->name);
  if (!S_ISREG(status.st_mode)) return state->bad("it is no regular file");
  PageFileFooter footer{};
  CRS_CHECK(state->read_ends(static_cast<std::uint64_t>(status.st_size), footer));
  CRS_CHECK(state->read_index(footer));
  return PageFileReader(std::move(state));
}

std::size_t PageFileReader::chunk_count() const {
  return state_->chunks.size();
}
std::uint64_t PageFileReader::total_pages() const {
  return state_->pages;
}
std::uint64_t PageFileReader::stored_bytes() const {
  return state_->size;
}
int PageFileReader::fd() const {
  return state_->fd.get();
}

PageFileReader::Chunk PageFileReader::chunk(std::size_t index) const {
  const ChunkRecord& record = state_->chunks[index];
  return {std::span(state_->runs).subspan(record.first_run, record.runs), record.pages, record.offset,
          record.stored_bytes, static_cast<Codec>(record.codec)};
}

// Straight into place, in one system call where that takes everything.
Status PageFileReader::State::read_raw(const ChunkRecord& record,
                                       std::span<const std::span<std::byte>> into) const {
  std::array<iovec, max_chunk_pages> pieces;
  for (std::size_t i = 0; i < into.size(); ++i) pieces[i] = {into[i].data(), into[i].size()};
  const ssize_t got =
      preadv(fd.get(), pieces.data(), static_cast<int>(into.size()), static_cast<off_t>(record.offset));
  if (got == static_cast<ssize_t>(record.stored_bytes)) return ok();
  std::uint64_t offset = record.offset;  // interrupted, or cut short: piece by piece, and with a proper error
  for (const auto piece : into) {
    CRS_CHECK(pread_exact(fd.get(), piece, offset, name));
    offset += piece.size();
  }
  return ok();
}

Status PageFileReader::State::read_compressed(const ChunkRecord& record,
                                              std::span<const std::span<std::byte>> into) const {
  thread_local Bytes stored;
  thread_local Bytes raw;
  stored.resize(std::max<std::size_t>(stored.size(), record.stored_bytes));
  const auto data = std::span(stored).first(record.stored_bytes);
  CRS_CHECK(pread_exact(fd.get(), data, record.offset, name));
  // Some bits of a compressed stream mean nothing, and a decoder is best shown only what an encoder wrote.
  if (checksum_of(data) != record.stored_checksum)
    return Error(Errc::bad_snapshot, "checksum of the compressed bytes");
  const auto codec = static_cast<Codec>(record.codec);
  if (into.size() == 1) return decompress(codec, data, into[0]);
  raw.resize(max_chunk_pages * page_bytes);
  const auto whole = std::span(raw).first(record.pages * page_bytes);
  CRS_CHECK(decompress(codec, data, whole));
  std::size_t at = 0;
  for (const auto piece : into) {
    std::memcpy(piece.data(), whole.data() + at, piece.size());
    at += piece.size();
  }
  return ok();
}

Error PageFileReader::State::damaged(const ChunkRecord& record, const Status& reading) const {
  return bad("pages at offset " + std::to_string(record.offset) + " are damaged" +
             (reading ? " (checksum)" : ": " + reading.error().message()))
      .with_hint("use another snapshot of the job (crs list)");
}

Status PageFileReader::State::read_checked(const ChunkRecord& record,
                                           std::span<const std::span<std::byte>> into) const {
  const bool plain = record.codec == static_cast<std::uint8_t>(Codec::none);
  auto status = plain ? read_raw(record, into) : read_compressed(record, into);
  if (!status && status.error().error_number() != 0) return status;  // an I/O error, told by the kernel
  if (status && checksum_of(into) == record.checksum) return ok();
  return damaged(record, status);
}

Status PageFileReader::State::check_stored(const ChunkRecord& record, std::span<std::byte> buffer) const {
  const bool plain = record.codec == static_cast<std::uint8_t>(Codec::none);
  if (record.stored_bytes > buffer.size()) return read_checked(record, std::span(&buffer, 1));
  const auto data = buffer.first(record.stored_bytes);
  auto status = pread_exact(fd.get(), data, record.offset, name);
  if (!status && status.error().error_number() != 0) return status;  // an I/O error, told by the kernel
  if (status && checksum_of(data) == (plain ? record.checksum : record.stored_checksum)) return ok();
  return damaged(record, status);
}

Status PageFileReader::read_chunk(std::size_t index, std::span<const std::span<std::byte>> into) const {
  const Chunk chunk = this->chunk(index);
  bool fits = into.size() == chunk.runs.size();
  for (std::size_t i = 0; fits && i < into.size(); ++i)
    fits = into[i].size() == chunk.runs[i].pages * page_bytes;
  if (!fits)
    return Error(Errc::bug,
                 state_->name + ": chunk " + std::to_string(index) + " does not fit the memory given");
  return state_->read_checked(state_->chunks[index], into);
}

Status PageFileReader::verify(unsigned threads, const Deadline& deadline, Depth depth) const {
  CRS_CHECK(state_->check_gaps());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Error> failure;
  std::size_t failed_chunk = 0;
  const auto work = [&] {
    Bytes buffer(max_chunk_pages * page_bytes);
    for (;;) {
      const std::size_t index = next.fetch_add(1);
      if (index >= chunk_count()) return;
      const std::span<std::byte> whole = std::span(buffer).first(state_->chunks[index].pages * page_bytes);
      auto status = deadline.check("pages were being read");
      if (status && depth == Depth::all) {
        status = state_->read_checked(state_->chunks[index], std::span(&whole, 1));
      } else if (status) {
        status = state_->check_stored(state_->chunks[index], buffer);
      }
      if (status) continue;
      const std::scoped_lock lock(mutex);
      next = chunk_count();
      if (failure && failed_chunk < index) return;
      failure = std::move(status).error();
      failed_chunk = index;
      return;
    }
  };
  {
    std::vector<std::jthread> workers;
    const std::size_t useful = std::clamp<std::size_t>(threads, 1, std::max<std::size_t>(chunk_count(), 1));
    for (std::size_t i = 1; i < useful; ++i) workers.emplace_back(work);
    work();
  }
  if (failure) return std::move(*failure);
  return ok();
}

}  // namespace crs::store
