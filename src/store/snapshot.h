// Snapshots on disk: one directory each, made in hiding, visible by one rename.
//
// What this file knows
//   A snapshot is a directory (0700) of manifest.json, state.pb and pages-0.bin (0600). It is written as
//   ".NAME.partial.PID" beside its final place, every file fsynced, renamed, and the parent fsynced: a crash
//   or a full disk at any point leaves the previous one whole and no half one visible. state.pb is a list of
//   named sections, each with its own checksum.
// What it leaves to others
//   Jobs and generations (store.h), what is inside a section (the kinds).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/deadline.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "store/manifest.h"
#include "store/page_file.h"

namespace crs::store {

class SnapshotWriter {
 public:
  // Makes the hidden directory beside `final_path` (absolute; its parent exists or is made 0700). Fails when
  // final_path already exists (Errc::storage, with a hint). Also removes what earlier writers to the same
  // place, which are dead by now, left behind.
  static Result<SnapshotWriter> create(const std::string& final_path, const PageFileOptions& options);
  SnapshotWriter(SnapshotWriter&&) noexcept;
  SnapshotWriter& operator=(SnapshotWriter&&) noexcept;
  ~SnapshotWriter();  // without commit: removes everything it made

  Status add_section(std::string_view name, std::string bytes);  // each name once; not thread-safe
  PageFileWriter& pages();                                       // pages-0.bin
  int directory() const;                                         // borrowed; for a component's own files
  // A component's own file in directory(), listed by commit. Names that begin with '.', "manifest", "state"
  // or "pages-" are this format's own. errors: bug.
  Status register_file(std::string_view name);
  static bool is_own_file(std::string_view name);  // one that the writer itself makes

  // Finishes the page file and state.pb, fills manifest.files, writes the manifest, fsyncs everything,
  // renames. Returns the final path. After an error the destructor removes all. Once only.
  Result<std::string> commit(Manifest manifest);
  const PageFileSummary& page_summary() const;  // after commit

 private:
  struct State;
  explicit SnapshotWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class SnapshotReader {
 public:
  // Opens the directory and checks manifest, lengths of all files, the whole of state.pb and the index of the
  // page file against their checksums. Refuses what others may write to: the directory must belong to us or
  // to root, and nobody else may have write permission. errors: not_found, bad_snapshot, permission.
  static Result<SnapshotReader> open(const std::string& path);
  SnapshotReader(SnapshotReader&&) noexcept;
  SnapshotReader& operator=(SnapshotReader&&) noexcept;
  ~SnapshotReader();

  const std::string& path() const;  // absolute
  const Manifest& manifest() const;
  bool has_section(std::string_view name) const;
  Result<std::string_view> section(std::string_view name) const;  // lives as long as the reader
  std::vector<std::string> section_names() const;
  bool has_pages() const;
  const PageFileReader& pages() const;  // only if has_pages()
  int directory() const;                // borrowed
  // Everything, page data included. errors: bad_snapshot, timeout.
  Status verify(unsigned threads, const Deadline& deadline = {},
                PageFileReader::Depth depth = PageFileReader::Depth::all) const;

 private:
  struct State;
  explicit SnapshotReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace crs::store
