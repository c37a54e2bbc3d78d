// Normal numbers from a counter: Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as
// 1, 2, 3, 2011) and the transformation of Box and Muller.
//
// A unit of its own, since it is compiled without contraction: where each addition, product,
// quotient and square root is rounded by itself, every machine gives the same numbers, and so does
// kernels/normal.py, which is the reference. The loops over kBlock counters are written for the
// compiler to vectorise.

#include "normal.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

// Counters whose numbers lie together: all their first ones, then all their second ones, ...
constexpr int kBlock = 64;
constexpr int kNumbers = rdarts::kNormals;
static_assert(kNumbers == 4 * kBlock, "a counter has four numbers");

// kWide counters side by side, 32 bits of each in 64, and their products.
#ifdef __AVX2__
// GCC before 15 multiplies all 64 bits of a lane, in eight instructions where AVX-512 is missing,
// though the upper ones are not needed.
#ifdef __AVX512F__
constexpr int kWide = 8;
typedef uint64_t Wide __attribute__((vector_size(64)));
inline Wide product(Wide a, uint32_t factor) {
  return (Wide)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(factor));
}
#else
constexpr int kWide = 4;
typedef uint64_t Wide __attribute__((vector_size(32)));
inline Wide product(Wide a, uint32_t factor) {
  return (Wide)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(factor));
}
#endif
inline uint64_t lane(const Wide& a, int i) { return a[i]; }
#else
constexpr int kWide = 1;
using Wide = uint64_t;
inline Wide product(Wide a, uint32_t factor) { return (a & 0xffffffff) * factor; }
inline uint64_t lane(Wide a, int) { return a; }
#endif

using Words = uint32_t[4][kBlock];

// The four words of counters first to first + kBlock - 1; first is a multiple of kBlock. Of a lane,
// only the lower 32 bits count. A round waits for the one before it: four groups take turns.
void philox(uint64_t seed, uint64_t first, Words& words) {
  constexpr int kGroups = 4;
  uint64_t counters[kWide];
  for (int i = 0; i < kWide; i++) counters[i] = first + i;
  Wide lanes;
  std::memcpy(&lanes, counters, sizeof(lanes));
  for (int at = 0; at < kBlock; at += kGroups * kWide) {
    Wide a[kGroups], b[kGroups], c[kGroups], d[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; g++) {
      a[g] = lanes + (at + g * kWide);
      b[g] = a[g] >> 32;
      c[g] = d[g] = Wide{};
    }
    uint32_t left = uint32_t(seed), right = uint32_t(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; g++) {
        const Wide p = product(a[g], 0xD2511F53), q = product(c[g], 0xCD9E8D57);
        a[g] = (q >> 32) ^ b[g] ^ left;
        b[g] = q;
        c[g] = (p >> 32) ^ d[g] ^ right;
        d[g] = p;
      }
      left += 0x9E3779B9;
      right += 0xBB67AE85;
    }
    for (int g = 0; g < kGroups; g++) {
      const int to = at + g * kWide;
      for (int i = 0; i < kWide; i++) {
        words[0][to + i] = uint32_t(lane(a[g], i));
        words[1][to + i] = uint32_t(lane(b[g], i));
        words[2][to + i] = uint32_t(lane(c[g], i));
        words[3][to + i] = uint32_t(lane(d[g], i));
      }
    }
  }
}

// How numbers lie in memory, and polynomials in x = s^2 or t^2, lowest power first: of
// (2 atanh(s) / s - 2) / x for s up to (sqrt(2) - 1) / (sqrt(2) + 1), of sin(pi t / 4) / t and of
// cos(pi t / 4) for t up to 1. They are best by Chebyshev's measure, to 2e-7, 2e-9 and 3e-8, and
// for double to 3e-16, 3e-18 and 5e-17.
template <typename T>
struct Real;
template <>
struct Real<float> {
  using Bits = uint32_t;
  static constexpr int kFraction = 23, kBias = 127;
  static constexpr Bits kOne = 0x3f800000, kRootHalf = 0x3f3504f3, kUnits = 0x4b000000;
  static constexpr float kLog[] = {0.666666865f, 0.3998878f, 0.295799494f};
  static constexpr float kSin[] = {0.785398185f, -0.0807454363f, 0.00249000685f, -3.59542901e-05f};
  static constexpr float kCos[] = {1.0f, -0.308424264f, 0.0158499107f, -0.000318877486f};
};
template <>
struct Real<double> {
  using Bits = uint64_t;
  static constexpr int kFraction = 52, kBias = 1023;
  static constexpr Bits kOne = 0x3ff0000000000000, kRootHalf = 0x3fe6a09e667f3bcd,
                        kUnits = 0x4330000000000000;
  static constexpr double kLog[] = {0.66666666666666697,  0.3999999999989950,  0.28571428625975485,
                                    0.22222211134795080,  0.18182889125261722, 0.15331721600556041,
                                    0.14616449685043406};
  static constexpr double kSin[] = {0.78539816339744831,     -0.080745512188280539,
                                    0.0024903945701888438,   -3.6576204158913875e-05,
                                    3.1336162254334162e-07,  -1.7571500746983934e-09,
                                    6.8773605731663256e-12};
  static constexpr double kCos[] = {0.99999999999999995,    -0.30842513753403784,
                                    0.015854344243741546,   -0.00032599188648354014,
                                    3.5908591798502380e-06, -2.4609507094028117e-08,
                                    1.1365469207731353e-10};
};

template <typename To, typename From>
inline To as_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "bits are taken as they are");
  To result;
  std::memcpy(&result, &value, sizeof(result));
  return result;
}

template <typename T, size_t N>
inline T polynomial(const T (&factors)[N], T x) {
  T sum = factors[N - 1];
#pragma GCC unroll 8
  for (int i = int(N) - 2; i >= 0; i--) sum = sum * x + factors[i];
  return sum;
}

// Two normal numbers of two words. A word is 31 random bits and a sign: with u of the bits of a and
// the angle (1 + t) pi / 4 of those of b,
//     sqrt(-2 log u) cos((1 + t) pi / 4) = sqrt(-log u) (cos(t pi / 4) - sin(t pi / 4)),
// and its sine likewise.
template <typename T>
inline void box_muller(uint32_t a, uint32_t b, T* one, T* two) {
  using R = Real<T>;
  using Bits = typename R::Bits;
  constexpr Bits fraction = (Bits(1) << R::kFraction) - 1;
  // u 2^31 = m 2^e, with m from sqrt(1/2) to sqrt(2)
  const T u = T(int32_t((a & 0x7fffffff) | 1));
  const Bits x = as_bits<Bits>(u) + (R::kOne - R::kRootHalf);
  const T m = as_bits<T>(Bits((x & fraction) + R::kRootHalf));
  // 31 - e: of numbers with this exponent the fraction counts units
  const T halvings = as_bits<T>(Bits(R::kUnits | (R::kBias + 31))) -
                     as_bits<T>(Bits(R::kUnits | (x >> R::kFraction)));
  const T s = (m - 1) / (m + 1), s2 = s * s;
  const T log_m = s * (s2 * polynomial(R::kLog, s2) + 2);
  const T radius = std::sqrt(halvings * T(0.693147180559945309) - log_m);
  const T t = T(int32_t(b << 1)) * T(1.0 / (1u << 31)), t2 = t * t;
  const T sine = t * polynomial(R::kSin, t2), cosine = polynomial(R::kCos, t2);
  constexpr int above = 8 * int(sizeof(T)) - 32;
  *one = as_bits<T>(as_bits<Bits>(radius * (cosine - sine)) ^ (Bits(a & 0x80000000) << above));
  *two = as_bits<T>(as_bits<Bits>(radius * (cosine + sine)) ^ (Bits(b & 0x80000000) << above));
}

template <typename T>
void draw_block(uint64_t seed, uint64_t block, T* out) {
  Words words;
  philox(seed, block * kBlock, words);
  for (int w = 0; w < 4; w += 2)
    for (int i = 0; i < kBlock; i++)
      box_muller(words[w][i], words[w + 1][i], out + w * kBlock + i, out + (w + 1) * kBlock + i);
}

template <typename T>
void draw(uint64_t seed, int64_t first, int64_t count, T* out) {
  while (count > 0) {
    const int64_t block = first / kNumbers, skipped = first % kNumbers;
    const int64_t taken = std::min(count, kNumbers - skipped);
    if (taken == kNumbers) {
      draw_block(seed, block, out);
    } else {
      T whole[kNumbers];
      draw_block(seed, block, whole);
      std::copy_n(whole + skipped, taken, out);
    }
    first += taken, count -= taken, out += taken;
  }
}

}  // namespace

namespace rdarts {

void standard_normals(uint64_t seed, int64_t first, int64_t count, float* out) {
  draw(seed, first, count, out);
}
void standard_normals(uint64_t seed, int64_t first, int64_t count, double* out) {
  draw(seed, first, count, out);
}

}  // namespace rdarts
