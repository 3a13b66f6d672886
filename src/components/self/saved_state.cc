// SPDX-License-Identifier: Apache-2.0
#include "components/self/saved_state.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace crs {
namespace {

constexpr std::uint64_t chunk_bytes = store::max_chunk_pages * page_size;
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 46;  // of all parts; half an address space

// A memory file, mapped for writing.
class StateFile {
 public:
  static Result<StateFile> create(std::uint64_t bytes) {
    OwnedFd file(memfd_create("crs-self-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file || ftruncate(file.get(), static_cast<off_t>(bytes)) != 0)
      return Error::from_errno(errno, "make a memory file for the state");
    // A number that no program expects to be free.
    if (const int high = fcntl(file.get(), F_DUPFD_CLOEXEC, 300); high >= 0) file = OwnedFd(high);
    // Room is found now, and not by a SIGBUS later.
    if (const int error = posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)); error != 0)
      return Error::from_errno(error, "find memory for the state");
    void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (at == MAP_FAILED) return Error::from_errno(errno, "map the state");
    return StateFile(std::move(file), static_cast<std::byte*>(at), bytes);
  }
  StateFile(StateFile&& other) noexcept
      : file_(std::move(other.file_)), at_(std::exchange(other.at_, nullptr)), bytes_(other.bytes_) {}
  StateFile& operator=(StateFile&&) = delete;
  ~StateFile() { unmap(); }

  std::byte* at(std::uint64_t offset) { return at_ + offset; }

  Result<OwnedFd> seal() {
    unmap();
    if (fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
      return Error::from_errno(errno, "seal the state");
    return std::move(file_);
  }

 private:
  StateFile(OwnedFd file, std::byte* at, std::uint64_t bytes)
      : file_(std::move(file)), at_(at), bytes_(bytes) {}
  void unmap() {
    if (at_ != nullptr) munmap(at_, bytes_);
    at_ = nullptr;
  }
  OwnedFd file_;
  std::byte* at_;
  std::uint64_t bytes_;
};

// Where each page of each part goes; each is asked for once.
class Places {
 public:
  Places(const std::vector<SelfPart>& parts, StateFile& file) : parts_(parts), file_(file) {
    for (const auto& part : parts) seen_.emplace_back(page_up(part.bytes) / page_size, false);
  }

  Result<std::span<std::byte>> place(const store::PageRun& run) {
    const Error damaged(Errc::bad_snapshot, "the page file holds a page of no part");
    if (run.space == 0 || run.space > parts_.size()) return damaged;
    auto& seen = seen_[run.space - 1];
    const std::uint64_t first = run.address / page_size;
    if (first > seen.size() || run.pages > seen.size() - first) return damaged;
    for (std::uint64_t page = first; page < first + run.pages; ++page) {
      if (seen[page]) return damaged;
      seen[page] = true;
    }
    return std::span(file_.at(parts_[run.space - 1].where + run.address), run.pages * page_size);
  }

  Status check_complete() const {
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      if (std::ranges::find(seen_[i], false) != seen_[i].end())
        return Error(Errc::bad_snapshot, "bytes of '" + parts_[i].name + "' are missing");
    }
    return ok();
  }

 private:
  const std::vector<SelfPart>& parts_;
  StateFile& file_;
  std::vector<std::vector<bool>> seen_;
};

}  // namespace

Status read_process(Pid pid, std::uint64_t from, std::span<std::byte> into, const std::string& what) {
  for (std::size_t done = 0; done < into.size();) {
    const iovec ours{into.data() + done, into.size() - done};
    const iovec its{reinterpret_cast<void*>(from + done), into.size() - done};  // NOLINT: remote
    const ssize_t got = process_vm_readv(pid.v, &ours, 1, &its, 1, 0);
    if (got < 0 && errno == ESRCH) return Error(Errc::target_gone, to_string(pid) + " has ended");
    if (got < 0 && errno != EFAULT) return Error::from_errno(errno, "read " + what);
    if (got <= 0) {
      return Error(Errc::refused,
                   what + " is not readable memory from its byte " + std::to_string(done) + " on")
          .with_hint("the program must keep what it protects; crs_self_unprotect() takes it back");
    }
    done += static_cast<std::size_t>(got);
  }
  return ok();
}

Status save_parts(Pid pid, const std::vector<SelfPart>& parts, store::PageFileWriter& pages,
                  const Deadline& deadline) {
  std::vector<std::byte> buffer(chunk_bytes);
  for (std::size_t number = 0; number < parts.size(); ++number) {
    const SelfPart& part = parts[number];
    const std::string what =
        (part.kind == SelfPart::Kind::region ? "region '" : "section '") + part.name + "'";
    for (std::uint64_t at = 0; at < part.bytes; at += chunk_bytes) {
      CRS_CHECK(deadline.check(what + " was being saved"));
      const std::uint64_t bytes = std::min(chunk_bytes, part.bytes - at);
      const std::uint64_t whole = page_up(bytes);
      CRS_CHECK(read_process(pid, part.where + at, std::span(buffer).first(bytes), what));
      std::fill_n(buffer.begin() + static_cast<std::ptrdiff_t>(bytes), whole - bytes, std::byte{0});
      const store::PageRun run{at, static_cast<std::uint32_t>(whole / page_size),
                               static_cast<std::uint32_t>(number + 1)};
      CRS_CHECK(pages.write_chunk(std::span(&run, 1), std::span(buffer).first(whole)));
    }
  }
  return ok();
}

Result<OwnedFd> hand_over(const store::SnapshotReader& snapshot, const self::State& state, SelfTable table,
                          const Deadline& deadline) {
  std::uint64_t total = 0;
  for (const auto& part : state.parts()) {
    if (part.size() > most_bytes || (total += page_up(part.size())) > most_bytes || part.kind() < 1 ||
        part.kind() > 2)
      return Error(Errc::bad_snapshot, "section self names a part that cannot be");
    table.parts.push_back({static_cast<SelfPart::Kind>(part.kind()), part.name(), 0, part.size()});
  }
  if (total != (snapshot.has_pages() ? snapshot.pages().total_pages() : 0) * page_size)
    return Error(Errc::bad_snapshot, "section self and the page file do not belong together");
  std::uint64_t at = page_up(encode(table).size());  // its length does not depend on the places
  for (auto& part : table.parts) {
    part.where = at;
    at += page_up(part.bytes);
  }
  CRS_TRY(auto file, StateFile::create(at));
  const std::string head = encode(table);
  std::memcpy(file.at(0), head.data(), head.size());
  Places places(table.parts, file);
  for (std::size_t index = 0; snapshot.has_pages() && index < snapshot.pages().chunk_count(); ++index) {
    CRS_CHECK(deadline.check("the state was being read"));
    std::vector<std::span<std::byte>> into;
    for (const auto& run : snapshot.pages().chunk(index).runs) {
      CRS_TRY(const auto place, places.place(run));
      into.push_back(place);
    }
    CRS_CHECK(snapshot.pages().read_chunk(index, into));
  }
  CRS_CHECK(places.check_complete());
  return file.seal();
}

}  // namespace crs
