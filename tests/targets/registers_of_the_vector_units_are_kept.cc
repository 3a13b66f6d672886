// timeout: 40
#include "tests/target.h"

// Four threads load a pattern of their own into every register that the processor has, spin in assembler
// without touching one, and store them again after the checkpoint. No call, no memory: only the saved state
// can be right.

static volatile int stop;
static volatile int spinning;

struct Image {
  alignas(64) unsigned char vector[32][64];
  uint64_t mask[8];
  alignas(16) unsigned char mmx[8][8];
  uint32_t mxcsr;
  uint16_t x87_control;
};

static void fill(Image* image, int me, size_t width) {
  memset(image, 0, sizeof *image);
  for (int r = 0; r < 32; r++)
    for (size_t b = 0; b < width; b++)
      image->vector[r][b] = static_cast<unsigned char>(1 + me * 53 + r * 7 + static_cast<int>(b));
  for (int r = 0; r < 8; r++)
    image->mask[r] =
        0x0101010101010101ull * static_cast<unsigned>(me + 1) + static_cast<unsigned>(r) * 0x1111;
  image->mxcsr =
      0x1f80u ^ static_cast<unsigned>((me & 3) << 13) ^ 0x8000u;  // rounding by thread, flush to zero
  image->x87_control = static_cast<uint16_t>(0x037f ^ ((me & 3) << 10));
}

#define EACH16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH32(X) \
  EACH16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define EACH7(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define SPIN "lock incl %[spinning]\n1: pause\ncmpl $0, %[stop]\nje 1b\n"
#define CONTROLS_IN "ldmxcsr %[mxcsr_in]\nfldcw %[control_in]\n"
#define CONTROLS_OUT "stmxcsr %[mxcsr_out]\nfnstcw %[control_out]\n"
#define OPERANDS                                                                               \
  : [stop] "+m"(stop), [spinning] "+m"(spinning), [mxcsr_out] "=m"(out->mxcsr),                              \
    [control_out] "=m"(out->x87_control)                                                                     \
  : [in] "r"(in), [out] "r"(out), [mxcsr_in] "m"(in->mxcsr), [control_in] "m"(in->x87_control)               \
  : "memory", "cc"

static void hold_sse(const Image* in, Image* out) {
#define LOAD(n) "movups " #n "*64(%[in]), %%xmm" #n "\n"
#define STORE(n) "movups %%xmm" #n ", " #n "*64(%[out])\n"
  asm volatile(CONTROLS_IN EACH16(LOAD) SPIN EACH16(STORE) CONTROLS_OUT OPERANDS);
#undef LOAD
#undef STORE
}

static void hold_avx(const Image* in, Image* out) {
#define LOAD(n) "vmovups " #n "*64(%[in]), %%ymm" #n "\n"
#define STORE(n) "vmovups %%ymm" #n ", " #n "*64(%[out])\n"
  asm volatile(CONTROLS_IN EACH16(LOAD) SPIN EACH16(STORE) "vzeroupper\n" CONTROLS_OUT OPERANDS);
#undef LOAD
#undef STORE
}

static void hold_avx512(const Image* in, Image* out) {
#define LOAD(n) "vmovups " #n "*64(%[in]), %%zmm" #n "\n"
#define STORE(n) "vmovups %%zmm" #n ", " #n "*64(%[out])\n"
#define LOAD_MASK(n) "kmovq 2048+" #n "*8(%[in]), %%k" #n "\n"
#define STORE_MASK(n) "kmovq %%k" #n ", 2048+" #n "*8(%[out])\n"
  static_assert(__builtin_offsetof(Image, mask) == 2048);
  asm volatile(CONTROLS_IN EACH32(LOAD) LOAD_MASK(0) EACH7(LOAD_MASK) SPIN STORE_MASK(0) EACH7(STORE_MASK)
                   EACH32(STORE) "vzeroupper\n" CONTROLS_OUT OPERANDS);
#undef LOAD
#undef STORE
}

TARGET() {
  bool avx = __builtin_cpu_supports("avx");
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  printf("held: %s\n", avx512 ? "AVX-512" : avx ? "AVX" : "SSE");
  static Image in[4];
  static Image out[4];
  size_t width = avx512 ? 64 : avx ? 32 : 16;
  auto body = [=](int me) {
    uint32_t mxcsr = 0;
    uint16_t control = 0;
    asm volatile("stmxcsr %0\nfnstcw %1" : "=m"(mxcsr), "=m"(control));
    (avx512 ? hold_avx512 : avx ? hold_avx : hold_sse)(&in[me], &out[me]);
    asm volatile("ldmxcsr %0\nfldcw %1" : : "m"(mxcsr), "m"(control));
  };
  for (int me = 0; me < 4; me++) fill(&in[me], me, width);
  TargetThread zero([=] { body(0); });
  TargetThread one([=] { body(1); });
  TargetThread two([=] { body(2); });
  TargetThread three([=] { body(3); });
  AWAIT(spinning == 4);

  checkpoint_here();

  stop = 1;
  zero.join();
  one.join();
  two.join();
  three.join();
  for (int me = 0; me < 4; me++) {
    EXPECT_EQ(out[me].mxcsr & ~0x3fu, in[me].mxcsr & ~0x3fu);
    EXPECT_EQ(out[me].x87_control, in[me].x87_control);
    for (int r = 0; r < (avx512 ? 32 : 16); r++)
      EXPECT_EQ(memcmp(in[me].vector[r], out[me].vector[r], width), 0);
    if (avx512) EXPECT_EQ(memcmp(in[me].mask, out[me].mask, sizeof in[me].mask), 0);
  }
}
