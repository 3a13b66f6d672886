// SPDX-License-Identifier: Apache-2.0
#include "engine/page_saver.h"

#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

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

Status read_pieces(const FrozenProcess& target, std::span<const Piece> pieces, std::byte* to) {
  std::vector<iovec> remote;
  remote.reserve(pieces.size());
  std::size_t total = 0;
  for (const Piece& piece : pieces) {
    remote.push_back({reinterpret_cast<void*>(piece.address), piece.pages * page_size});
    total += piece.pages * page_size;
  }
  const iovec local{to, total};
  const ssize_t got = process_vm_readv(target.living_thread().v, &local, 1, remote.data(), remote.size(), 0);
  if (got == static_cast<ssize_t>(total)) return ok();
  // EFAULT, or short: some page may only be read through /proc/PID/mem. (EPERM: hardened systems; likewise.)
  for (const Piece& piece : pieces) {
    const std::size_t bytes = piece.pages * page_size;
    CRS_CHECK(target.read_memory(RemoteAddr(piece.address), std::span(to, bytes)).context([&] {
      return to_string(RemoteAddr(piece.address));
    }));
    to += bytes;
  }
  return ok();
}

// Moves pages together over those that hold only zeros; neighbours stay one run.
Status write_pieces(std::span<const Piece> pieces, std::byte* data, store::PageFileWriter& writer) {
  std::vector<store::PageRun> runs;
  std::size_t from = 0, to = 0;
  for (const Piece& piece : pieces) {
    bool joins = false;
    for (std::uint32_t i = 0; i < piece.pages; ++i, from += page_size) {
      if (!piece.keep_zeros && all_zero(data + from)) {
        joins = false;
        continue;
      }
      if (to != from) std::memmove(data + to, data + from, page_size);
      to += page_size;
      if (joins) {
        ++runs.back().pages;
      } else {
        runs.push_back({piece.stored_as + i * page_size, 1, piece.space});
        joins = true;
      }
    }
  }
  if (runs.empty()) return ok();
  return writer.write_chunk(runs, std::span(data, to));
}

}  // namespace

unsigned worker_count(unsigned wanted) {
  if (wanted != 0) return std::min(wanted, 64u);
  return std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
}

struct PageSaver::State {
  State(const FrozenProcess& process, std::span<const SourceRun> runs, store::PageFileWriter& to,
        const PageSaverOptions& how, const PageBuffers& room)
      : target(process), writer(to), options(how), chunks(cut(runs)), buffers(room) {}

  struct Filled {
    std::size_t chunk;
    std::size_t buffer;
  };

  const FrozenProcess& target;
  store::PageFileWriter& writer;
  const PageSaverOptions options;
  const Chunks chunks;
  const PageBuffers& buffers;

  std::mutex mutex;  // of all that follows
  std::condition_variable changed;
  std::vector<std::size_t> empty;  // buffers
  std::deque<Filled> filled;
  std::size_t next = 0;     // the first chunk that nobody reads yet
  std::size_t read = 0;     // chunks
  std::size_t written = 0;  // chunks
  std::uint64_t bytes = 0;  // written
  std::optional<Error> failure;
  bool given_up = false;
  std::vector<std::jthread> threads;  // last: they end before the rest goes

  std::span<const Piece> pieces(std::size_t chunk) const {
    return std::span(chunks.pieces)
        .subspan(chunks.first[chunk], chunks.first[chunk + 1] - chunks.first[chunk]);
  }
  bool over() const { return failure || given_up || written == chunks.count(); }
  void fail(Error error) {
    if (!failure) failure = std::move(error);
  }

  void work();
  void read_next(std::unique_lock<std::mutex>& lock);
  void write_next(std::unique_lock<std::mutex>& lock);
};

void PageSaver::State::read_next(std::unique_lock<std::mutex>& lock) {
  const std::size_t chunk = next++;
  const std::size_t buffer = empty.back();
  empty.pop_back();
  lock.unlock();
  auto status = options.deadline.check("memory was being saved");
  if (status) status = read_pieces(target, pieces(chunk), buffers.buffer(buffer));
  lock.lock();
  if (!status) return fail(std::move(status).error());
  filled.push_back({chunk, buffer});
  ++read;
}

void PageSaver::State::write_next(std::unique_lock<std::mutex>& lock) {
  const Filled job = filled.front();
  filled.pop_front();
  lock.unlock();
  auto status = options.deadline.check("memory was being saved");
  if (status) status = write_pieces(pieces(job.chunk), buffers.buffer(job.buffer), writer);
  std::uint64_t size = 0;
  for (const Piece& piece : pieces(job.chunk)) size += piece.pages * page_size;
  lock.lock();
  if (!status) return fail(std::move(status).error());
  empty.push_back(job.buffer);
  ++written;
  bytes += size;
  if (options.progress) options.progress(bytes, chunks.bytes);
}

void PageSaver::State::work() {
  std::unique_lock lock(mutex);
  while (!over()) {
    if (next < chunks.count() && !empty.empty()) {
      read_next(lock);
    } else if (!filled.empty()) {
      write_next(lock);
    } else {
      changed.wait(lock);
      continue;
    }
    changed.notify_all();
  }
}

PageBuffers::PageBuffers(std::uint64_t expected_bytes) {
  constexpr std::size_t huge = 2u << 20;
  area_size_ = total_size + huge;
  area_ =
      mmap(nullptr, area_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area_ == MAP_FAILED) {
    area_ = nullptr;
    return;
  }
  const auto start = reinterpret_cast<std::uintptr_t>(area_);
  base_ = static_cast<std::byte*>(area_) + (huge - start % huge) % huge;
  madvise(base_, total_size, MADV_HUGEPAGE);
  const std::uint64_t wanted = std::min<std::uint64_t>((expected_bytes + huge - 1) / huge * huge, total_size);
  if (wanted != 0) madvise(base_, wanted, MADV_POPULATE_WRITE);
}

PageBuffers::~PageBuffers() {
  if (area_ != nullptr) munmap(area_, area_size_);
}

PageSaver::PageSaver(std::uint64_t expected_bytes) : buffers_(expected_bytes) {}

void PageSaver::start(const FrozenProcess& target, std::span<const SourceRun> runs,
                      store::PageFileWriter& writer, const PageSaverOptions& options) {
  state_ = std::make_unique<State>(target, runs, writer, options, buffers_);
  State& state = *state_;
  // Those that were touched already are handed out first.
  for (std::size_t i = std::min(state.chunks.count(), buffers_.count()); i-- > 0;) state.empty.push_back(i);
  if (buffers_.count() == 0) {
    state.failure =
        Error(Errc::kernel, "no memory for buffers").with_hint("free some memory, or raise ulimit -v");
  }
  const std::size_t workers = std::min<std::size_t>(worker_count(options.workers), state.chunks.count());
  for (std::size_t i = 0; i < workers; ++i) state.threads.emplace_back([&state] { state.work(); });
}

PageSaver::~PageSaver() {
  if (!state_) return;
  {
    const std::scoped_lock lock(state_->mutex);
    state_->given_up = true;
  }
  state_->changed.notify_all();
}

Status PageSaver::wait_read() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  state.changed.wait(lock, [&] { return state.failure || state.read == state.chunks.count(); });
  if (state.failure) return Error(*state.failure);
  return ok();
}

Status PageSaver::finish() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  state.changed.wait(lock, [&] { return state.over(); });
  if (state.failure) return Error(*state.failure);
  return ok();
}

}  // namespace crs
