// Page files: the bulk memory of a snapshot, in chunks that can each be checked and read on their own.
//
// What this file knows
//   A page file is a header, chunks, an index and a footer (docs/snapshot-format.md, "Page files"). A chunk
//   is up to `max_chunk_pages` pages that need not be neighbours: its runs say where each stretch belongs.
//   Each chunk is stored raw or compressed, whichever is smaller, and carries the XXH3-128 of its raw bytes.
//   Several threads write and read at the same time; the order of chunks in the file means nothing.
// What it leaves to others
//   Which pages to write (the engine), what a space is (the kinds), directories and names (snapshot.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "os/deadline.h"
#include "os/result.h"

namespace crs::store {

enum class Codec : std::uint8_t { none = 0, zstd = 1, lz4 = 2 };
std::string_view to_string(Codec codec);
Result<Codec> parse_codec(std::string_view name);  // "zstd", "lz4", "none"

// Neighbouring pages. `space` tells address spaces apart: 0 is the private memory of the process and
// `address` is a virtual address there; others are numbered by the kinds (shared memory objects, contents of
// deleted files) and `address` is an offset in bytes. Always page aligned.
struct PageRun {
  std::uint64_t address = 0;
  std::uint32_t pages = 0;
  std::uint32_t space = 0;
  bool operator==(const PageRun&) const = default;
};
static_assert(sizeof(PageRun) == 16);

inline constexpr std::size_t max_chunk_pages = 256;  // 1 MiB raw

struct PageFileOptions {
  Codec codec = Codec::zstd;
  int level = 1;  // the codec's own scale
};

struct PageFileSummary {
  std::uint64_t chunks = 0;
  std::uint64_t raw_bytes = 0;     // of all pages in it
  std::uint64_t stored_bytes = 0;  // the file's length; after SnapshotWriter::commit, of all files
  std::uint64_t index_bytes = 0;   // of the index, which the footer follows
};

class PageFileWriter {
 public:
  // Creates `name` in the directory (O_EXCL, 0600).
  static Result<PageFileWriter> create(int directory, const std::string& name,
                                       const PageFileOptions& options);
  PageFileWriter(PageFileWriter&&) noexcept;
  PageFileWriter& operator=(PageFileWriter&&) noexcept;
  ~PageFileWriter();

  // Compresses, checksums and writes one chunk: `data` holds the pages of all `runs`, one after the other.
  // Thread-safe; the caller's thread does the work. errors: storage.
  Status write_chunk(std::span<const PageRun> runs, std::span<const std::byte> data);

  // Writes index and footer. Not the fsync: SnapshotWriter::commit does that for every file. Once only.
  Result<PageFileSummary> finish();

  std::uint64_t stored_bytes() const;  // so far; thread-safe

 private:
  struct State;
  explicit PageFileWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class PageFileReader {
 public:
  struct Chunk {
    std::span<const PageRun> runs;  // lives as long as the reader
    std::uint64_t pages = 0;        // sum over the runs, at most max_chunk_pages
    std::uint64_t offset = 0;       // in the file
    std::uint32_t stored_bytes = 0;
    Codec codec = Codec::none;
  };

  // Reads and checks header, footer and index: lengths, bounds, order, checksums. Believes nothing.
  // errors: bad_snapshot with the file's name and what is wrong; not_found; permission.
  static Result<PageFileReader> open(int directory, const std::string& name);
  PageFileReader(PageFileReader&&) noexcept;
  PageFileReader& operator=(PageFileReader&&) noexcept;
  ~PageFileReader();

  std::size_t chunk_count() const;
  Chunk chunk(std::size_t index) const;
  std::uint64_t total_pages() const;
  std::uint64_t stored_bytes() const;
  int fd() const;  // borrowed

  // Reads chunk `index`, checks its checksum, and puts run k into into[k] (of runs[k].pages pages). A raw
  // chunk goes straight into place; the check is made on what landed there. Thread-safe, also in a forked
  // child. errors: bad_snapshot.
  Status read_chunk(std::size_t index, std::span<const std::span<std::byte>> into) const;

  enum class Depth : std::uint8_t {
    stored,  // the bytes as they are in the file
    all,     // and what they decompress to
  };
  // Reads every chunk and throws the data away, with `threads` threads. errors: bad_snapshot.
  Status verify(unsigned threads, const Deadline& deadline = {}, Depth depth = Depth::all) const;

 private:
  struct State;
  explicit PageFileReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace crs::store
