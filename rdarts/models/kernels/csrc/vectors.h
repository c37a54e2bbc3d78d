// Vectors, and what is made of them alone: products of matrices, sums. Nothing here knows a tensor or
// PyTorch.

#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace {

// Bytes of a vector: 32 wherever 8 channels are all that is known, and kWide where the channels fill
// whole vectors of that length, which take half the instructions where the CPU has AVX-512.
constexpr int64_t kNarrow = 32;
#ifdef __AVX512F__
constexpr int64_t kWide = 64;
#else
constexpr int64_t kWide = kNarrow;
#endif

// Registers of a vector's length, as large as tiles may be.
#ifdef __AVX512VL__
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// GCC and Clang make AVX, NEON or whatever the machine has of them. A vector in memory may be any T's, and
// nothing else: were it may_alias, each store would have compilers fetch sizes and pointers of a loop anew.
template <typename T, int64_t BYTES = kNarrow>
struct Lanes {
  typedef T type __attribute__((vector_size(BYTES)));
  typedef T memory __attribute__((vector_size(BYTES), aligned(alignof(T))));
  static constexpr int64_t count = BYTES / sizeof(T);
};
template <typename T, int64_t BYTES = kNarrow>
using Vec = typename Lanes<T, BYTES>::type;

template <int64_t BYTES = kNarrow, typename T>
inline Vec<T, BYTES> load(const T* p) {
  return *reinterpret_cast<const typename Lanes<T, BYTES>::memory*>(p);
}
template <typename T, typename V>
inline void store(T* p, V v) {
  *reinterpret_cast<typename Lanes<T, sizeof(V)>::memory*>(p) = v;
}
template <int64_t BYTES = kNarrow, typename T>
inline Vec<T, BYTES> fill(T value) {
  return value - Vec<T, BYTES>{};  // unlike 0 + value, no arithmetic: -0 stays
}
// A compiler takes a value from memory again for each product that wants it, which costs as much as the
// product. After this it stays in its register.
template <typename V>
inline void keep(V& value) {
#ifdef __AVX__
  asm("" : "+v"(value));
#endif
}
template <typename T, typename V>
inline V relu(V v) {  // keeps NaN
  return v < V{} ? V{} : v;
}
template <typename T, typename V>
inline V relu6(V v) {
  const V six = fill<sizeof(V)>(T(6));
  return v > six ? six : relu<T>(v);
}

// Scratch memory whose vectors never cross a cache line.
template <typename T>
struct Aligned {
  using value_type = T;
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(64)));
  }
  void deallocate(T* data, size_t) { ::operator delete(data, std::align_val_t(64)); }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};
template <typename T>
using Buffer = std::vector<T, Aligned<T>>;

// Distances that the compiler knows are part of the instructions, others cost some: the usual
// numbers of channels are constants, 0 stands for any other.
template <int64_t COUNT, int64_t BYTES>
struct Channels {
  static constexpr int64_t count = COUNT, bytes = BYTES;
  static constexpr int64_t or_any(int64_t any) { return COUNT ? COUNT : any; }
};

// f(Channels) of any number of channels: with the longest vectors that they fill.
template <typename T, typename F>
auto by_width(int64_t channels, F&& f) {
  if (channels % Lanes<T, kWide>::count == 0) return f(Channels<0, kWide>{});
  return f(Channels<0, kNarrow>{});
}

// The same with the usual numbers as constants.
template <typename T, typename F>
auto by_channels(int64_t channels, F&& f) {
  if (channels == 16) return f(Channels<16, kWide>{});
  if (channels == 32) return f(Channels<32, kWide>{});
  if (channels == 64) return f(Channels<64, kWide>{});
  return by_width<T>(channels, f);
}

// c[i, :] (+)= sum_k a[i, k] b[k, :] for MR rows and NV vectors of columns. Where `blocks` is more than 1,
// k goes on in as many blocks of a, `hop` elements apart. It is inlined: what is a constant where it
// is called is one here.
template <typename T, int MR, int NV, int64_t W>
inline __attribute__((always_inline)) void gemm_tile(const T* a, int64_t as, const T* b, int64_t bs, T* c,
                                                     int64_t cs, int64_t depth, bool accumulate,
                                                     int64_t blocks = 1, int64_t hop = 0) {
  constexpr int64_t L = Lanes<T, W>::count;
  Vec<T, W> sum[MR][NV];
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) sum[i][v] = accumulate ? load<W>(c + i * cs + v * L) : Vec<T, W>{};
  for (int64_t block = 0; block < blocks; block++, a += hop, b += depth * bs)
#pragma GCC unroll 2
    for (int64_t k = 0; k < depth; k++) {
      Vec<T, W> right[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) right[v] = load<W>(b + k * bs + v * L);
#pragma GCC unroll 12
      for (int i = 0; i < MR; i++) {
        const Vec<T, W> left = fill<W>(a[i * as + k]);
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) sum[i][v] += left * right[v];
      }
    }
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) store(c + i * cs + v * L, sum[i][v]);
}

template <typename T, int NV, typename C>
inline void gemm_panel(int64_t rows, int64_t any_depth, const T* a, int64_t any_as, const T* b, int64_t any_bs,
                       T* c, int64_t cs, bool accumulate) {
  const int64_t as = C::or_any(any_as), bs = C::or_any(any_bs), depth = C::or_any(any_depth);
  constexpr int MOST = kRegisters == 32 ? 8 : 6;
  int64_t i = 0;
  while (i < rows) {
    const int64_t left = rows - i;
    const T* ai = a + i * as;
    T* ci = c + i * cs;
    if (left >= MOST && (MOST == 8 || left != 8)) {
      gemm_tile<T, MOST, NV, C::bytes>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += MOST;
    } else if (left >= 4) {
      gemm_tile<T, 4, NV, C::bytes>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 4;
    } else {
      gemm_tile<T, 1, NV, C::bytes>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 1;
    }
  }
}

// c [rows, columns] (+)= a [rows, depth] b [depth, columns].
template <typename T>
void gemm(int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t as, const T* b, T* c,
          int64_t cs, bool accumulate) {
  auto run = [&](auto channels) {
    using C = decltype(channels);
    constexpr int64_t L = Lanes<T, C::bytes>::count;
    const int64_t bs = C::or_any(columns);
    int64_t j = 0;
    for (; j + 2 * L <= bs; j += 2 * L)
      gemm_panel<T, 2, C>(rows, depth, a, as, b + j, bs, c + j, cs, accumulate);
    for (; j < bs; j += L) gemm_panel<T, 1, C>(rows, depth, a, as, b + j, bs, c + j, cs, accumulate);
  };
  if (as == depth && columns == depth) by_channels<T>(columns, run);
  else by_width<T>(columns, run);
}

// MR rows and NV vectors of c [ca, cb] += sum_p a[p, :]' b[p, :]. It is inlined, as gemm_tile is.
template <typename T, int MR, int NV, int64_t W>
inline __attribute__((always_inline)) void gram_tile(int64_t pixels, const T* a, int64_t as, const T* b, int64_t bs,
                                                     T* c, int64_t cs) {
  constexpr int64_t L = Lanes<T, W>::count;
  Vec<T, W> sum[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) sum[r][v] = load<W>(c + r * cs + v * L);
#pragma GCC unroll 2
  for (int64_t p = 0; p < pixels; p++) {
    Vec<T, W> right[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) right[v] = load<W>(b + p * bs + v * L);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
      const Vec<T, W> left = fill<W>(a[p * as + r]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) store(c + r * cs + v * L, sum[r][v]);
}

// c [ca, cb] += sum_p a[p, :]' b[p, :].
template <typename T>
void gram(int64_t pixels, const T* a, int64_t as, int64_t ca, const T* b, int64_t bs, int64_t cb, T* c) {
  auto run = [&](auto channels) {
    using C = decltype(channels);
    constexpr int64_t L = Lanes<T, C::bytes>::count;
    constexpr int MR = kRegisters == 16 ? 4 : (C::count == L ? L : 8);
    const int64_t cs = C::or_any(cb), a_step = C::or_any(as), b_step = C::or_any(bs);
    int64_t j = 0;
    for (; j + 2 * L <= cs; j += 2 * L)
      for (int64_t i = 0; i < ca; i += MR)
        gram_tile<T, MR, 2, C::bytes>(pixels, a + i, a_step, b + j, b_step, c + i * cs + j, cs);
    for (; j < cs; j += L)
      for (int64_t i = 0; i < ca; i += MR)
        gram_tile<T, MR, 1, C::bytes>(pixels, a + i, a_step, b + j, b_step, c + i * cs + j, cs);
  };
  if (as == cb && bs == cb && ca == cb) by_channels<T>(cb, run);
  else by_width<T>(cb, run);
}

// sum[c] += sum_p a[p, c], product[c] += sum_p a[p, c] b[p, c].
template <typename T>
inline void sums(int64_t pixels, int64_t channels, const T* a, int64_t as, const T* b, int64_t bs, T* sum,
                 T* product) {
  by_width<T>(channels, [&](auto width) {
    constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
    for (int64_t c = 0; c < channels; c += L) {
      Vec<T, W> s0{}, s1{}, p0{}, p1{};
      int64_t p = 0;
      for (; p + 2 <= pixels; p += 2) {
        const Vec<T, W> a0 = load<W>(a + p * as + c), a1 = load<W>(a + (p + 1) * as + c);
        s0 += a0;
        s1 += a1;
        p0 += a0 * load<W>(b + p * bs + c);
        p1 += a1 * load<W>(b + (p + 1) * bs + c);
      }
      for (; p < pixels; p++) {
        const Vec<T, W> a0 = load<W>(a + p * as + c);
        s0 += a0;
        p0 += a0 * load<W>(b + p * bs + c);
      }
      if (sum) store(sum + c, load<W>(sum + c) + s0 + s1);
      if (product) store(product + c, load<W>(product + c) + p0 + p1);
    }
  });
}

// out [pixels, C] = a * g + b * y + d, for coefficients a, b, d [C] that are `hop` elements apart: what a
// batch norm's backward makes of the gradient g of its result. Pixels of g, y and out are `gs`, `ys` and
// `os` elements apart. As many pixels again are fetched on the way: processors do so by themselves
// only to the end of a page.
template <typename T>
inline void norm_grad(int64_t pixels, int64_t channels, const T* coefficients, int64_t hop, const T* g,
                      int64_t gs, const T* y, int64_t ys, T* out, int64_t os) {
  by_width<T>(channels, [&](auto width) {
    constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
    for (int64_t c = 0; c < channels; c += L) {
      const Vec<T, W> a = load<W>(coefficients + c), b = load<W>(coefficients + hop + c);
      const Vec<T, W> d = load<W>(coefficients + 2 * hop + c);
      for (int64_t p = 0; p < pixels; p++) {
        __builtin_prefetch(g + (p + pixels) * gs + c);
        __builtin_prefetch(y + (p + pixels) * ys + c);
        store(out + p * os + c, a * load<W>(g + p * gs + c) + b * load<W>(y + p * ys + c) + d);
      }
    }
  });
}

}  // namespace
