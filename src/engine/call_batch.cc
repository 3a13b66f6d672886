#include "engine/call_batch.h"

#include <algorithm>

namespace crs {
namespace {

// One entry of the array that the loop walks. The loop in remote_calls.cc knows these offsets.
struct Entry {
  std::uint64_t number;
  std::uint64_t arguments[6];
  std::int64_t result;
};
static_assert(sizeof(Entry) == 64);

constexpr std::size_t alignment = 16;

std::size_t round_up(std::size_t value, std::size_t to) {
  return (value + to - 1) / to * to;
}

}  // namespace

CallBatch::Buffer CallBatch::out(std::size_t size) {
  const std::size_t offset = round_up(data_.size(), alignment);
  data_.resize(offset + size);
  return {static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(size)};
}

CallBatch::Buffer CallBatch::in(std::span<const std::byte> data) {
  const Buffer buffer = out(data.size());
  std::copy(data.begin(), data.end(), data_.begin() + buffer.offset);
  return buffer;
}

CallBatch::Buffer CallBatch::in_string(std::string_view text) {
  const Buffer buffer = out(text.size() + 1);
  std::copy(text.begin(), text.end(), reinterpret_cast<char*>(data_.data() + buffer.offset));
  return buffer;
}

void CallBatch::point(Buffer holder, std::size_t offset, Buffer target) {
  pointers_.push_back({holder.offset + static_cast<std::uint32_t>(offset), target.offset});
}

CallBatch::CallId CallBatch::add(Call call) {
  calls_.push_back(std::move(call));
  return {calls_.size() - 1};
}

CallBatch::CallId CallBatch::call(std::string what, long number, Arg a1, Arg a2, Arg a3, Arg a4, Arg a5,
                                  Arg a6) {
  return add({std::move(what), true, number, {a1, a2, a3, a4, a5, a6}, 0});
}

CallBatch::CallId CallBatch::try_call(long number, Arg a1, Arg a2, Arg a3, Arg a4, Arg a5, Arg a6) {
  return add({{}, false, number, {a1, a2, a3, a4, a5, a6}, 0});
}

std::size_t CallBatch::data_offset() const {
  return entries() * sizeof(Entry);
}

std::size_t CallBatch::image_size() const {
  return round_up(data_offset() + data_.size(), 64);
}

Bytes CallBatch::image(RemoteAddr base) const {
  Bytes image(image_size());
  const std::uint64_t data_at = base.v + data_offset();
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    Entry entry{};
    entry.number = static_cast<std::uint64_t>(calls_[i].number);
    for (std::size_t k = 0; k < 6; ++k) {
      const Arg& argument = calls_[i].arguments[k];
      entry.arguments[k] = argument.is_buffer_ ? data_at + argument.value_ : argument.value_;
    }
    std::memcpy(image.data() + i * sizeof entry, &entry, sizeof entry);
  }
  if (ending_) {
    Entry entry{};
    entry.number = static_cast<std::uint64_t>(ending_->number);
    std::ranges::copy(ending_->arguments, entry.arguments);
    std::memcpy(image.data() + calls_.size() * sizeof entry, &entry, sizeof entry);
  }
  std::copy(data_.begin(), data_.end(), image.begin() + static_cast<std::ptrdiff_t>(data_offset()));
  for (const Pointer& pointer : pointers_) {
    const std::uint64_t address = data_at + pointer.to;
    std::memcpy(image.data() + data_offset() + pointer.at, &address, sizeof address);
  }
  return image;
}

void CallBatch::absorb(std::span<const std::byte> image) {
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    std::memcpy(&calls_[i].result, image.data() + i * sizeof(Entry) + offsetof(Entry, result),
                sizeof(std::int64_t));
  }
  const auto data = image.subspan(data_offset(), data_.size());
  std::copy(data.begin(), data.end(), data_.begin());
}

Status CallBatch::first_failure() const {
  for (const Call& call : calls_) {
    if (call.required && call.result < 0 && call.result > -4096) {
      return Error::from_errno(static_cast<int>(-call.result), call.what);
    }
  }
  return ok();
}

}  // namespace crs
