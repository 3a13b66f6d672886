// SPDX-License-Identifier: Apache-2.0
#include "engine/collection.h"

#include "engine/frozen_state.h"
#include "engine/remote_calls.h"

namespace crs {

Status Collection::collect(FrozenProcess& target, const MemoryOptions& options, Blockers& blockers,
                           store::SnapshotWriter* writer, Deadline deadline, const std::set<int>* descriptors,
                           MemoryDetail detail) {
  QuestionSet questions;
  threads_.ask(target, questions);
  for (const ActiveKind& each : kinds_) {
    CRS_CHECK(each.kind->ask(target, questions).context(each.info->section));
  }
  std::vector<RemoteJob> jobs;
  if (!questions.leader().empty()) jobs.push_back({0, &questions.leader()});
  for (std::size_t i = 0; i < target.threads().size(); ++i) {
    CallBatch& batch = questions.thread(target.threads()[i].ns_tid);
    if (!batch.empty()) jobs.push_back({i, &batch});
  }
  CRS_CHECK(make_remote_calls(target, jobs, deadline));
  CollectContext context{target, questions, blockers, writer, &deleted_files_, deadline};
  context.descriptors = descriptors;
  context.memory_detail = detail;
  blockers.set_kind(ThreadTable::section);
  CRS_CHECK(threads_.collect(context).context("threads"));
  for (std::size_t i = 0; i < target.threads().size(); ++i)
    target.state().threads[i].has_alternate_stack = threads_.has_alternate_stack(i);
  blockers.set_kind(MemoryMap::section);
  LeftOutMemory left_out;
  choose_memory(target, options, context, left_out);
  CRS_CHECK(memory_.collect(context).context("memory"));
  blockers.set_kind(DescriptorTable::section);
  CRS_CHECK(descriptors_.collect(context, kinds_).context("descriptors"));
  blockers.set_kind(DeletedFiles::section);
  CRS_CHECK(deleted_files_.complete(context).context("deleted files"));
  for (const ActiveKind& each : kinds_) {
    CRS_CHECK(deadline.check("the process was being looked at"));
    blockers.set_kind(each.info->section);
    CRS_CHECK(each.kind->collect(context).context(each.info->section));
  }
  return ok();
}

// What of it is left out, as the program and the user want it.
void Collection::choose_memory(const FrozenProcess& target, const MemoryOptions& options,
                               CollectContext& context, LeftOutMemory& left_out) {
  MemoryWishes wishes;
  if (options.ask) {
    wishes = options.ask(
        [&target](RemoteAddr from, std::span<std::byte> out) { return target.read_memory(from, out); });
  }
  for (const std::string& note : wishes.notes) context.blockers.note(note);
  context.rebuilder = wishes.rebuilder;
  needs_rebuilding_ = wishes.rebuilder.v != 0;
  if (!wishes.wishes.empty() || options.skip_dontdump) {
    left_out = LeftOutMemory(options, std::move(wishes.wishes), LeftOutMemory::needs_of(target, threads_));
  }
  context.left_out = &left_out;
}

Result<std::map<std::string, std::string>> Collection::sections() const {
  std::map<std::string, std::string> all;
  const auto add = [&](std::string_view name, Result<std::string> bytes) -> Status {
    CRS_TRY(all[std::string(name)], std::move(bytes));
    return ok();
  };
  CRS_CHECK(add(ThreadTable::section, threads_.save()));
  CRS_CHECK(add(MemoryMap::section, memory_.save()));
  CRS_CHECK(add(DeletedFiles::section, deleted_files_.save()));
  CRS_CHECK(add(DescriptorTable::section, descriptors_.save()));
  for (const ActiveKind& each : kinds_) CRS_CHECK(add(each.info->section, each.kind->save()));
  return all;
}

Status Collection::save(store::SnapshotWriter& writer) const {
  CRS_TRY(auto all, sections());
  for (auto& [name, bytes] : all) CRS_CHECK(writer.add_section(name, std::move(bytes)));
  return ok();
}

}  // namespace crs
