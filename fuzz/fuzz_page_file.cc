// SPDX-License-Identifier: Apache-2.0
// The reader of page files: any file is refused, or each chunk is read in bounds or found damaged.
//
// The input is a whole file. Since the index's checksum would hide everything behind it from a fuzzer, the
// same input is read a second time with that checksum, and the two magic numbers, put right.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "store/page_file.h"
#include "store/page_file_layout.h"

namespace {

using namespace crs::store;  // NOLINT: one file, about nothing else

class Folder {
 public:
  Folder() {
    char path[] = "/tmp/crs-fuzz.XXXXXX";
    if (mkdtemp(path) == nullptr) std::abort();
    path_ = path;
    fd_ = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    unlinkat(fd_, "pages", 0);
    close(fd_);
    rmdir(path_.c_str());
  }
  int fd() const { return fd_; }
  void put(const std::string& bytes) const {
    const int file = openat(fd_, "pages", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      std::abort();
    close(file);
  }

 private:
  std::string path_;
  int fd_ = -1;
};

void read_all(int folder) {
  const auto reader = PageFileReader::open(folder, "pages");
  if (!reader) return;
  for (std::size_t i = 0; i < reader->chunk_count(); ++i) {
    const auto chunk = reader->chunk(i);
    if (chunk.pages > max_chunk_pages) std::abort();
    std::vector<std::vector<std::byte>> memory;
    for (const auto& run : chunk.runs) memory.emplace_back(run.pages * page_bytes);
    std::vector<std::span<std::byte>> into(memory.begin(), memory.end());
    (void)reader->read_chunk(i, into);
  }
}

void put_right(std::string& bytes) {
  if (bytes.size() < sizeof(PageFileHeader) + sizeof(PageFileFooter)) return;
  PageFileHeader header{page_file_magic, format_version_of_pages, page_bytes, {}};
  std::memcpy(bytes.data(), &header, sizeof header);
  PageFileFooter footer{};
  const std::size_t footer_at = bytes.size() - sizeof footer;
  std::memcpy(&footer, bytes.data() + footer_at, sizeof footer);
  footer.chunks %= 8;
  footer.runs %= 64;
  const std::uint64_t index_size = footer.chunks * sizeof(ChunkRecord) + footer.runs * sizeof(PageRun);
  if (index_size > footer_at - sizeof header) return;
  footer.index_offset = footer_at - index_size;
  footer.checksum = checksum_of(std::as_bytes(std::span(bytes)).subspan(footer.index_offset, index_size));
  footer.reserved = 0;
  footer.magic = page_file_end_magic;
  std::memcpy(bytes.data() + footer_at, &footer, sizeof footer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  folder.put(bytes);
  read_all(folder.fd());
  put_right(bytes);
  folder.put(bytes);
  read_all(folder.fd());
  return 0;
}
