// SPDX-License-Identifier: Apache-2.0
#include "engine/dead_register.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

namespace crs {
namespace {

constexpr std::size_t longest_instruction = 15;
constexpr std::size_t most_instructions = 128;

// As instructions number them.
constexpr int rdx = 2, r10 = 10;

using Code = std::array<std::uint8_t, longest_instruction>;

enum class Next : std::uint8_t { follows, jumps, branches, calls, calls_somewhere, ends, unknown };

struct Instruction {
  Next next = Next::unknown;
  std::size_t length = 0;
  std::int32_t distance = 0;   // of a jump or call, from the end
  bool names_it = false;       // the register
  bool overwrites_it = false;  // without a look at it
};

class Decoder {
 public:
  Decoder(const Code& code, int wanted) : code_(code), wanted_(wanted) {}

  Instruction decode() {
    take_prefixes();
    const std::uint8_t opcode = take();
    if (opcode == 0x0f) {
      decode_two_bytes(take());
    } else {
      decode_one_byte(opcode);
    }
    found_.length = at_;
    if (found_.overwrites_it) found_.names_it = false;
    if (at_ > longest_instruction) found_.next = Next::unknown;
    return found_;
  }

 private:
  std::uint8_t take() { return at_ < code_.size() ? code_[at_++] : (++at_, std::uint8_t{0}); }

  void take_prefixes() {
    for (;; ++at_) {
      const std::uint8_t byte = at_ < code_.size() ? code_[at_] : std::uint8_t{0};
      if (byte == 0x66) operand_16_ = true;
      if (byte == 0xf3) repeat_ = true;
      if (byte != 0x66 && byte != 0x64 && byte != 0x2e && byte != 0xf3) break;
    }
    if (at_ < code_.size() && (code_[at_] & 0xf0) == 0x40) rex_ = code_[at_++];
  }

  void follows(std::size_t immediate = 0) {
    found_.next = Next::follows;
    at_ += immediate;
  }
  // The size of an immediate operand that is as large as the operand, but for 64 bits.
  std::size_t immediate_32() const { return operand_16_ ? 2 : 4; }

  void jump(Next next, std::size_t size) {
    std::int32_t distance = 0;
    if (size == 1) {
      distance = take();
      if (distance >= 128) distance -= 256;
    } else {
      std::array<std::uint8_t, 4> bytes{};
      for (std::uint8_t& byte : bytes) byte = take();
      std::memcpy(&distance, bytes.data(), sizeof distance);
    }
    found_.next = next;
    found_.distance = distance;
  }

  // A register in the low bits of an opcode or of a ModRM field, with its extension bit in REX.
  void name(int low, std::uint8_t extension) {
    if (is_wanted(low, extension)) found_.names_it = true;
  }
  bool is_wanted(int low, std::uint8_t extension) const {
    constexpr int dh = 6;  // of a byte's registers, without REX
    if (of_bytes_ && rex_ == 0 && low == dh && wanted_ == rdx) return true;
    return low + ((rex_ & extension) != 0 ? 8 : 0) == wanted_;
  }

  // Of an instruction that puts all of a result into the register of the middle field, or into that of the
  // low one, and takes it from the other operand.
  void overwrites_middle() {
    if (middle_is_it_ && !low_names_it_ && !operand_16_) found_.overwrites_it = true;
  }
  void overwrites_low() {
    if (low_is_it_ && !middle_is_it_ && !operand_16_) found_.overwrites_it = true;
  }

  // ModRM, SIB and displacement; answers the middle field.
  int operands(bool middle_is_register = true) {
    const std::uint8_t modrm = take();
    const int mode = modrm >> 6, middle = modrm >> 3 & 7, low = modrm & 7;
    middle_is_it_ = middle_is_register && is_wanted(middle, rex_r);
    if (mode == 3) {
      of_bytes_ = of_bytes_ || low_is_byte_;
      low_is_it_ = low_names_it_ = is_wanted(low, rex_b);
      found_.names_it = middle_is_it_ || low_is_it_;
      return middle;
    }
    bool displacement_32 = mode == 2 || (mode == 0 && low == 5);
    if (low == 4) {
      const std::uint8_t sib = take();
      name(sib >> 3 & 7, rex_x);
      name(sib & 7, rex_b);
      if (mode == 0 && (sib & 7) == 5) displacement_32 = true;
    } else if (!(mode == 0 && low == 5)) {
      name(low, rex_b);
    }
    low_names_it_ = found_.names_it;
    if (middle_is_it_) found_.names_it = true;
    at_ += displacement_32 ? 4 : mode == 1 ? 1 : 0;
    return middle;
  }

  void decode_one_byte(std::uint8_t opcode) {
    if (opcode < 0x40) {
      decode_arithmetic(opcode);
      return;
    }
    if (opcode >= 0x50 && opcode < 0x60) {  // push, pop
      name(opcode & 7, rex_b);
      found_.overwrites_it = found_.names_it && opcode >= 0x58 && !operand_16_;
      follows();
      return;
    }
    if (opcode >= 0x70 && opcode < 0x80) {
      jump(Next::branches, 1);
      return;
    }
    if (opcode >= 0xb8 && opcode < 0xc0) {  // mov $imm,%reg
      name(opcode & 7, rex_b);
      found_.overwrites_it = found_.names_it && !operand_16_;
      follows((rex_ & rex_w) != 0 ? 8 : immediate_32());
      return;
    }
    switch (opcode) {
      case 0x63:
      case 0x8b:
      case 0x8d:  // movsxd, mov, lea
        operands();
        overwrites_middle();
        follows();
        break;
      case 0x89:  // mov
        operands();
        overwrites_low();
        follows();
        break;
      case 0x84:
      case 0x85:
      case 0x88:
      case 0x8a:  // test, mov of a byte
        of_bytes_ = opcode != 0x85;
        operands();
        follows();
        break;
      case 0x80:
      case 0x83:
      case 0xc0:
      case 0xc1:
      case 0xc6:  // arithmetic, shifts, mov with a byte
        of_bytes_ = opcode == 0x80 || opcode == 0xc0 || opcode == 0xc6;
        operands(false);
        follows(1);
        break;
      case 0x81:
      case 0xc7:
        operands(false);
        if (opcode == 0xc7) overwrites_low();
        follows(immediate_32());
        break;
      case 0xd1:
      case 0xd3:
        operands(false);
        follows();
        break;
      case 0xf6:
        of_bytes_ = true;
        follows(operands(false) < 2 ? 1 : 0);
        break;
      case 0xf7: {
        const int kind = operands(false);
        if (kind >= 4 && wanted_ == rdx) found_.names_it = true;  // mul, div
        follows(kind < 2 ? immediate_32() : 0);
        break;
      }
      case 0x99:  // cqo
        found_.names_it = wanted_ == rdx;
        follows();
        break;
      case 0x90:
      case 0x98:
      case 0xc9: follows(); break;  // nop, cdqe, leave
      case 0xa8: follows(1); break;
      case 0xa9: follows(immediate_32()); break;
      case 0xc2:
      case 0xc3: found_.next = Next::ends; break;  // ret
      case 0xe8: jump(Next::calls, 4); break;
      case 0xff:
        // call through memory or a register
        if (operands(false) == 2) found_.next = Next::calls_somewhere;
        break;
      case 0xe9: jump(Next::jumps, 4); break;
      case 0xeb: jump(Next::jumps, 1); break;
      default: break;
    }
  }

  // add, or, adc, sbb, and, sub, xor, cmp: six forms each; what is between them is not used in 64-bit code.
  void decode_arithmetic(std::uint8_t opcode) {
    const int form = opcode & 7;
    if (form < 4) {
      of_bytes_ = (form & 1) == 0;
      operands();
      // xor of a register with itself
      if ((opcode & 0xf8) == 0x30 && (form & 1) != 0 && middle_is_it_ && low_is_it_ && !operand_16_)
        found_.overwrites_it = true;
      follows();
    } else if (form == 4) {
      follows(1);
    } else if (form == 5) {
      follows(immediate_32());
    }
  }

  void decode_two_bytes(std::uint8_t opcode) {
    if (opcode >= 0x80 && opcode < 0x90) {
      jump(Next::branches, 4);
    } else if ((opcode >= 0x40 && opcode < 0x50) || (opcode >= 0x90 && opcode < 0xa0)) {  // cmov, set
      of_bytes_ = opcode >= 0x90;
      operands(opcode < 0x90);
      follows();
    } else if (opcode == 0xb6 || opcode == 0xb7 || opcode == 0xbe || opcode == 0xbf) {  // movzx, movsx
      low_is_byte_ = opcode == 0xb6 || opcode == 0xbe;
      operands();
      overwrites_middle();
      follows();
    } else if (opcode == 0x1f || (opcode == 0x1e && repeat_)) {  // nop, endbr64
      operands(false);
      follows();
    }
  }

  static constexpr std::uint8_t rex_w = 8, rex_r = 4, rex_x = 2, rex_b = 1;
  const Code& code_;
  const int wanted_;
  bool of_bytes_ = false, low_is_byte_ = false;
  bool middle_is_it_ = false, low_is_it_ = false, low_names_it_ = false;
  std::size_t at_ = 0;
  std::uint8_t rex_ = 0;
  bool operand_16_ = false;
  bool repeat_ = false;
  Instruction found_;
};

}  // namespace

bool argument_is_dead_at(int argument, RemoteAddr start, const MemoryReader& read) {
  const int wanted = argument == 2 ? rdx : argument == 3 ? r10 : -1;
  if (wanted < 0) return false;
  std::vector<std::uint64_t> seen, ahead{start.v};
  while (!ahead.empty()) {
    const std::uint64_t at = ahead.back();
    ahead.pop_back();
    if (std::ranges::find(seen, at) != seen.end()) continue;
    if (seen.size() == most_instructions) return false;
    seen.push_back(at);
    Code code{};
    // The last instructions before the end of a mapping: what is there is enough, or the walk gives up.
    std::size_t length = code.size();
    while (length > 0 && !read(RemoteAddr(at), std::as_writable_bytes(std::span(code).first(length))))
      --length;
    const Instruction found = Decoder(code, wanted).decode();
    if (length < found.length || found.names_it) return false;
    if (found.overwrites_it) continue;
    const std::uint64_t end = at + found.length;
    const std::uint64_t target = end + static_cast<std::uint64_t>(std::int64_t{found.distance});
    switch (found.next) {
      case Next::follows: ahead.push_back(end); break;
      case Next::jumps: ahead.push_back(target); break;
      case Next::branches:
        ahead.push_back(end);
        ahead.push_back(target);
        break;
      case Next::calls:
        if (wanted == r10) break;
        ahead.push_back(end);
        ahead.push_back(target);
        break;
      case Next::calls_somewhere:
        if (wanted != r10) return false;
        break;
      case Next::ends: break;
      case Next::unknown: return false;
    }
  }
  return true;
}

}  // namespace crs
