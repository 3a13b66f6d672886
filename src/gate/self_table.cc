// SPDX-License-Identifier: Apache-2.0
#include "gate/self_table.h"

#include <cstring>

namespace crs {
namespace {

constexpr std::uint64_t table_magic = 0x31464C4553535243;  // "CRSSELF1"

class Writer {
 public:
  void number(std::uint64_t value) {
    char bytes[8];
    std::memcpy(bytes, &value, sizeof bytes);  // x86_64 is little endian
    out_.append(bytes, sizeof bytes);
  }
  void text(std::string_view value) {
    number(value.size());
    out_.append(value);
  }
  void texts(const std::vector<std::string>& values) {
    number(values.size());
    for (const auto& value : values) text(value);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  bool good() const { return good_; }
  std::uint64_t number() {
    std::uint64_t value = 0;
    if (left_.size() < sizeof value) {
      good_ = false;
      return 0;
    }
    std::memcpy(&value, left_.data(), sizeof value);
    left_.remove_prefix(sizeof value);
    return value;
  }
  std::string text() {
    const std::uint64_t size = number();
    if (size > left_.size()) good_ = false;
    if (!good_) return {};
    std::string value(left_.substr(0, size));
    left_.remove_prefix(size);
    return value;
  }
  // Where each takes 8 bytes at least, no count can make us ask for more memory than there are bytes.
  std::uint64_t count() {
    const std::uint64_t value = number();
    if (value > left_.size() / 8) good_ = false;
    return good_ ? value : 0;
  }
  std::vector<std::string> texts() {
    std::vector<std::string> values;
    for (std::uint64_t left = count(); left > 0 && good_; --left) values.push_back(text());
    return values;
  }

 private:
  std::string_view left_;
  bool good_ = true;
};

}  // namespace

std::string encode(const SelfTable& table) {
  Writer out;
  out.number(table_magic);
  out.text(table.prefix);
  out.text(table.snapshot);
  out.number(table.restarts);
  out.number(table.has_command ? 1 : 0);
  out.texts(table.arguments);
  out.text(table.directory);
  out.number(table.has_environment ? 1 : 0);
  out.texts(table.environment);
  out.number(table.parts.size());
  for (const auto& part : table.parts) {
    out.number(static_cast<std::uint64_t>(part.kind));
    out.text(part.name);
    out.number(part.where);
    out.number(part.bytes);
  }
  return out.take();
}

Result<SelfTable> decode_self_table(std::string_view bytes) {
  Reader in(bytes);
  SelfTable table;
  bool good = in.number() == table_magic;
  table.prefix = in.text();
  table.snapshot = in.text();
  table.restarts = in.number();
  table.has_command = in.number() != 0;
  table.arguments = in.texts();
  table.directory = in.text();
  table.has_environment = in.number() != 0;
  table.environment = in.texts();
  for (std::uint64_t left = in.count(); left > 0 && in.good(); --left) {
    SelfPart part;
    const std::uint64_t kind = in.number();
    good = good && (kind == 1 || kind == 2);
    part.kind = static_cast<SelfPart::Kind>(kind);
    part.name = in.text();
    part.where = in.number();
    part.bytes = in.number();
    table.parts.push_back(std::move(part));
  }
  if (!good || !in.good() || (table.has_command && table.arguments.empty()))
    return Error(Errc::bad_snapshot, "the table of what the program saves by itself is damaged");
  return table;
}

}  // namespace crs
