// SPDX-License-Identifier: Apache-2.0
#include "store/page_file.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <thread>

#include "store/compression.h"
#include "store/page_file_layout.h"
#include "store/testing.h"

namespace crs::store {
namespace {

using testing::random_bytes;
using testing::Scratch;
using testing::text_bytes;

class PageFile : public ::testing::Test {
 protected:
  PageFile() : directory_(open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  int directory() const { return directory_.get(); }
  std::string path() const { return scratch_ / "pages"; }

  Result<PageFileReader> write_and_open(const std::function<void(PageFileWriter&)>& write,
                                        Codec codec = Codec::zstd) {
    unlinkat(directory(), "pages", 0);
    CRS_TRY(auto writer, PageFileWriter::create(directory(), "pages", {.codec = codec, .level = 1}));
    write(writer);
    CRS_CHECK(writer.finish());
    return PageFileReader::open(directory(), "pages");
  }

  Scratch scratch_;
  OwnedFd directory_;
};

std::vector<PageRun> one_run(std::uint64_t address, std::uint32_t pages) {
  return {{address, pages, 0}};
}

Status read_whole(const PageFileReader& reader, std::size_t index, Bytes& out) {
  const auto chunk = reader.chunk(index);
  out.resize(chunk.pages * page_bytes);
  std::vector<std::span<std::byte>> pieces;
  std::size_t at = 0;
  for (const PageRun& run : chunk.runs) {
    pieces.push_back(std::span(out).subspan(at, run.pages * page_bytes));
    at += run.pages * page_bytes;
  }
  return reader.read_chunk(index, pieces);
}

TEST_F(PageFile, KeepsPagesWithEveryCodec) {
  for (const Codec codec : {Codec::none, Codec::zstd, Codec::lz4}) {
    const Bytes text = text_bytes(256 * page_bytes, 1), noise = random_bytes(256 * page_bytes, 2);
    auto reader = write_and_open(
        [&](PageFileWriter& writer) {
          ASSERT_OK(writer.write_chunk(one_run(0, 256), text));
          ASSERT_OK(writer.write_chunk(one_run(1u << 30, 256), noise));
        },
        codec);
    ASSERT_OK(reader);
    ASSERT_EQ(reader->chunk_count(), 2u);
    EXPECT_EQ(reader->total_pages(), 512u);
    EXPECT_EQ(reader->chunk(0).codec, codec);
    EXPECT_EQ(reader->chunk(1).codec, Codec::none);  // nothing to gain
    Bytes got;
    ASSERT_OK(read_whole(*reader, 0, got));
    EXPECT_EQ(got, text);
    ASSERT_OK(read_whole(*reader, 1, got));
    EXPECT_EQ(got, noise);
    ASSERT_OK(reader->verify(3));
  }
}

TEST_F(PageFile, PutsScatteredPagesIntoTheirPlaces) {
  for (const bool compressible : {true, false}) {
    std::vector<PageRun> runs;
    for (std::uint32_t i = 0; i < 128; ++i) runs.push_back({i * 3 * page_bytes, 1 + i % 2, i % 3});
    std::uint64_t pages = 0;
    for (const PageRun& run : runs) pages += run.pages;
    const Bytes data = compressible ? text_bytes(pages * page_bytes, 1) : random_bytes(pages * page_bytes, 1);
    auto reader = write_and_open([&](PageFileWriter& writer) { ASSERT_OK(writer.write_chunk(runs, data)); });
    ASSERT_OK(reader);
    ASSERT_EQ(reader->chunk(0).runs.size(), runs.size());
    EXPECT_TRUE(std::equal(runs.begin(), runs.end(), reader->chunk(0).runs.begin()));
    Bytes got;
    ASSERT_OK(read_whole(*reader, 0, got));
    EXPECT_EQ(got, data);
    // Memory that does not fit is our own mistake, not a damaged snapshot.
    const std::span<std::byte> whole = got;
    EXPECT_EQ(reader->read_chunk(0, std::span(&whole, 1)).error().code(), Errc::bug);
  }
}

TEST_F(PageFile, TakesChunksFromManyThreads) {
  constexpr std::uint32_t threads = 8, chunks = 12;
  const auto data_of = [](unsigned thread, unsigned chunk) {
    const unsigned seed = thread * 100 + chunk;
    return chunk % 2 == 0 ? text_bytes(16 * page_bytes, seed) : random_bytes(16 * page_bytes, seed);
  };
  auto reader = write_and_open([&](PageFileWriter& writer) {
    std::vector<std::jthread> writers;
    for (unsigned thread = 0; thread < threads; ++thread) {
      writers.emplace_back([&, thread] {
        for (unsigned chunk = 0; chunk < chunks; ++chunk) {
          EXPECT_TRUE(writer.write_chunk(one_run((thread * chunks + chunk) * 16 * page_bytes, 16),
                                         data_of(thread, chunk)));
        }
      });
    }
  });
  ASSERT_OK(reader);
  ASSERT_EQ(reader->chunk_count(), threads * chunks);
  for (std::size_t i = 0; i < reader->chunk_count(); ++i) {
    const auto number = static_cast<unsigned>(reader->chunk(i).runs[0].address / (16 * page_bytes));
    Bytes got;
    ASSERT_OK(read_whole(*reader, i, got));
    EXPECT_EQ(got, data_of(number / chunks, number % chunks));
  }
}

TEST_F(PageFile, CanBeReadInAForkedChild) {
  const Bytes text = text_bytes(8 * page_bytes, 1);
  auto reader =
      write_and_open([&](PageFileWriter& writer) { ASSERT_OK(writer.write_chunk(one_run(0, 8), text)); });
  ASSERT_OK(reader);
  const pid_t child = fork();
  if (child == 0) {
    Bytes got;
    _exit(read_whole(*reader, 0, got) && got == text ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(PageFile, MayBeEmpty) {
  auto reader = write_and_open([](PageFileWriter&) {});
  ASSERT_OK(reader);
  EXPECT_EQ(reader->chunk_count(), 0u);
  ASSERT_OK(reader->verify(2));
}

TEST_F(PageFile, RefusesTheSamePageTwiceAndImpossibleChunks) {
  const Bytes page = random_bytes(page_bytes, 1);
  auto twice = write_and_open([&](PageFileWriter& writer) {
    ASSERT_OK(writer.write_chunk(one_run(page_bytes, 1), page));
    ASSERT_OK(writer.write_chunk(one_run(page_bytes, 1), page));
  });
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code(), Errc::bug);
  (void)write_and_open([&](PageFileWriter& writer) {
    EXPECT_EQ(writer.write_chunk(one_run(1, 1), page).error().code(), Errc::bug);
    EXPECT_EQ(writer.write_chunk(one_run(0, 2), page).error().code(), Errc::bug);
    EXPECT_EQ(writer.write_chunk({}, {}).error().code(), Errc::bug);
    EXPECT_EQ(writer.write_chunk(one_run(0, 257), random_bytes(257 * page_bytes, 1)).error().code(),
              Errc::bug);
  });
}

TEST_F(PageFile, RefusesLevelsThatTheCodecLacks) {
  auto writer = PageFileWriter::create(directory(), "other", {.codec = Codec::zstd, .level = 99});
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code(), Errc::usage);
}

TEST_F(PageFile, FindsTruncationAtEveryLength) {
  const auto made = write_and_open([&](PageFileWriter& writer) {
    ASSERT_OK(writer.write_chunk(one_run(0, 1), random_bytes(page_bytes, 1)));
  });
  ASSERT_OK(made);
  for (std::size_t length = testing::read_all(path()).size(); length-- > 0;) {
    ASSERT_EQ(truncate(path().c_str(), static_cast<off_t>(length)), 0);
    const auto reader = PageFileReader::open(directory(), "pages");
    ASSERT_FALSE(reader) << length;
    EXPECT_EQ(reader.error().code(), Errc::bad_snapshot);
  }
}

// A hostile index with right checksums: every field is believed only after it was checked.
TEST_F(PageFile, BelievesNoNumberOfTheIndex) {
  const auto made = write_and_open([&](PageFileWriter& writer) {
    ASSERT_OK(writer.write_chunk(one_run(0, 2), text_bytes(2 * page_bytes, 1)));
    ASSERT_OK(writer.write_chunk(one_run(0x100000, 2), random_bytes(2 * page_bytes, 1)));
  });
  ASSERT_OK(made);
  const std::string whole = testing::read_all(path());
  const std::size_t index =
      whole.size() - sizeof(PageFileFooter) - 2 * sizeof(ChunkRecord) - 2 * sizeof(PageRun);
  const std::size_t index_bytes = whole.size() - sizeof(PageFileFooter) - index;
  int accepted = 0;
  for (std::size_t at = index; at < whole.size() - sizeof(PageFileFooter); ++at) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::string changed = whole;
      if (changed[at] == static_cast<char>(value)) continue;
      changed[at] = static_cast<char>(value);
      PageFileFooter footer;
      std::memcpy(&footer, changed.data() + changed.size() - sizeof footer, sizeof footer);
      footer.checksum = checksum_of(as_bytes(std::string_view(changed).substr(index, index_bytes)));
      std::memcpy(changed.data() + changed.size() - sizeof footer, &footer, sizeof footer);
      testing::overwrite(path(), changed);
      auto reader = PageFileReader::open(directory(), "pages");
      if (!reader) {
        EXPECT_EQ(reader.error().code(), Errc::bad_snapshot);
        continue;
      }
      // Left are other addresses, spaces and checksums, which nobody here can know to be wrong: all is read
      // within its bounds (the sanitizers watch).
      ++accepted;
      for (std::size_t i = 0; i < reader->chunk_count(); ++i) {
        Bytes got;
        (void)read_whole(*reader, i, got);
      }
    }
  }
  EXPECT_GT(accepted, 0);
}

TEST_F(PageFile, NamesBothVersionsWhenTheFormatIsNewer) {
  const auto made = write_and_open([](PageFileWriter&) {});
  ASSERT_OK(made);
  std::string whole = testing::read_all(path());
  whole[8] = 9;
  testing::overwrite(path(), whole);
  const auto reader = PageFileReader::open(directory(), "pages");
  ASSERT_FALSE(reader);
  EXPECT_NE(reader.error().message().find("version 9"), std::string::npos);
  EXPECT_NE(reader.error().message().find("version 1"), std::string::npos);
}

TEST(Compression, TellsRandomFromCompressible) {
  EXPECT_FALSE(looks_compressible(random_bytes(1u << 20, 1)));
  EXPECT_TRUE(looks_compressible(text_bytes(1u << 20, 1)));
  EXPECT_TRUE(looks_compressible(Bytes(1u << 20)));
  Bytes half = random_bytes(1u << 20, 1);
  std::fill(half.begin(), half.begin() + (1 << 19), std::byte{});
  EXPECT_TRUE(looks_compressible(half));
}

}  // namespace
}  // namespace crs::store
