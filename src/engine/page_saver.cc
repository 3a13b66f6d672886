// SPDX-License-Identifier: Apache-2.0
#include "engine/page_saver.h"

#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/frozen_state.h"

namespace crs {
namespace {

struct Piece {
  std::uint64_t address;
  std::uint64_t stored_as;
  std::uint32_t pages;
  std::uint32_t space;
  bool keep_zeros;
};

// The pieces of chunk i are pieces[first[i]] .. pieces[first[i + 1]].
struct Chunks {
  std::vector<Piece> pieces;
  std::vector<std::size_t> first;
  std::uint64_t bytes = 0;
  std::size_t count() const { return first.empty() ? 0 : first.size() - 1; }
};

Chunks cut(std::span<const SourceRun> runs) {
  Chunks chunks;
  std::uint64_t room = 0;
  for (const SourceRun& run : runs) {
    for (std::uint64_t at = 0; at < run.bytes;) {
      if (room == 0) {
        chunks.first.push_back(chunks.pieces.size());
        room = store::max_chunk_pages;
      }
      const std::uint64_t pages = std::min(room, (run.bytes - at) / page_size);
      chunks.pieces.push_back({run.address + at, run.stored_as + at, static_cast<std::uint32_t>(pages),
                               run.space, run.keep_zeros});
      room -= pages;
      at += pages * page_size;
      chunks.bytes += pages * page_size;
    }
  }
  if (!chunks.first.empty()) chunks.first.push_back(chunks.pieces.size());
  return chunks;
}

bool all_zero(const std::byte* page) {
  static const std::byte zeros[page_size] = {};
  return std::memcmp(page, zeros, page_size) == 0;
}

class Worker {
 public:
  Worker(const FrozenProcess& target, store::PageFileWriter& writer)
      : target_(target), writer_(writer), data_(store::max_chunk_pages * page_size) {}

  Status save(std::span<const Piece> pieces) {
    CRS_CHECK(read(pieces));
    return write(pieces);
  }

 private:
  Status read(std::span<const Piece> pieces) {
    remote_.clear();
    std::size_t total = 0;
    for (const Piece& piece : pieces) {
      remote_.push_back({reinterpret_cast<void*>(piece.address), piece.pages * page_size});
      total += piece.pages * page_size;
    }
    const iovec local{data_.data(), total};
    const ssize_t got = process_vm_readv(target_.living_thread().v, &local, 1, remote_.data(), remote_.size(), 0);
    if (got == static_cast<ssize_t>(total)) return ok();
    // EFAULT, or short: some page may only be read through /proc/PID/mem. (EPERM: hardened systems;
    // likewise.)
    std::size_t at = 0;
    for (const Piece& piece : pieces) {
      const std::size_t bytes = piece.pages * page_size;
      CRS_CHECK(
          target_.read_memory(RemoteAddr(piece.address), std::span(data_).subspan(at, bytes)).context([&] {
            return to_string(RemoteAddr(piece.address));
          }));
      at += bytes;
    }
    return ok();
  }

  // Moves pages together over those that hold only zeros; neighbours stay one run.
  Status write(std::span<const Piece> pieces) {
    runs_.clear();
    std::size_t from = 0, to = 0;
    for (const Piece& piece : pieces) {
      bool joins = false;
      for (std::uint32_t i = 0; i < piece.pages; ++i, from += page_size) {
        if (!piece.keep_zeros && all_zero(data_.data() + from)) {
          joins = false;
          continue;
        }
        if (to != from) std::memmove(data_.data() + to, data_.data() + from, page_size);
        to += page_size;
        if (joins) {
          ++runs_.back().pages;
        } else {
          runs_.push_back({piece.stored_as + i * page_size, 1, piece.space});
          joins = true;
        }
      }
    }
    if (runs_.empty()) return ok();
    return writer_.write_chunk(runs_, std::span(data_).first(to));
  }

  const FrozenProcess& target_;
  store::PageFileWriter& writer_;
  Bytes data_;
  std::vector<iovec> remote_;
  std::vector<store::PageRun> runs_;
};

}  // namespace

unsigned worker_count(unsigned wanted) {
  if (wanted != 0) return std::min(wanted, 64u);
  return std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
}

Status save_pages(const FrozenProcess& target, std::span<const SourceRun> runs, store::PageFileWriter& writer,
                  const PageSaverOptions& options) {
  const Chunks chunks = cut(runs);
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> done{0};
  std::mutex mutex;  // of failure, and of progress
  std::optional<Error> failure;
  const auto work = [&]() {
    Worker worker(target, writer);
    for (;;) {
      const std::size_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= chunks.count()) return;
      auto status = options.deadline.check("memory was being saved");
      const auto pieces = std::span(chunks.pieces)
                              .subspan(chunks.first[index], chunks.first[index + 1] - chunks.first[index]);
      if (status) status = worker.save(pieces);
      if (!status) {
        const std::scoped_lock lock(mutex);
        if (!failure) failure = std::move(status).error();
        next.store(chunks.count(), std::memory_order_relaxed);
        return;
      }
      std::uint64_t bytes = 0;
      for (const Piece& piece : pieces) bytes += piece.pages * page_size;
      const std::uint64_t sum = done.fetch_add(bytes, std::memory_order_relaxed) + bytes;
      if (options.progress) {
        const std::scoped_lock lock(mutex);
        options.progress(sum, chunks.bytes);
      }
    }
  };
  const std::size_t workers = std::min<std::size_t>(worker_count(options.workers), chunks.count());
  if (workers <= 1) {
    work();
  } else {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < workers; ++i) threads.emplace_back(work);
  }
  if (failure) return std::move(*failure);
  return ok();
}

}  // namespace crs
