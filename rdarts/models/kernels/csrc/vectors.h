// Vectors of 32 bytes, and what is made of them alone: products of matrices, rows of a depthwise
// convolution, sums. Nothing here knows a tensor or PyTorch.

#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace {

// Vectors of 32 bytes: GCC and Clang make AVX, NEON or whatever the machine has of them.
template <typename T>
struct Lanes {
  typedef T type __attribute__((vector_size(32)));
  typedef T memory __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
  static constexpr int64_t count = 32 / sizeof(T);
};
template <typename T>
using Vec = typename Lanes<T>::type;

template <typename T>
inline Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Lanes<T>::memory*>(p);
}
template <typename T>
inline void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Lanes<T>::memory*>(p) = v;
}
template <typename T>
inline Vec<T> fill(T value) {
  return value - Vec<T>{};  // unlike 0 + value, no arithmetic: -0 stays
}
template <typename T>
inline Vec<T> relu(Vec<T> v) {  // keeps NaN
  return v < Vec<T>{} ? Vec<T>{} : v;
}
template <typename T>
inline Vec<T> relu6(Vec<T> v) {
  const Vec<T> six = fill(T(6));
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
// numbers of channels C and strides S are template arguments, 0 for any other.

// c[i, :] (+)= sum_k a[i, k] b[k, :] for MR rows and NV vectors of columns.
template <typename T, int MR, int NV, int C>
inline void gemm_tile(const T* a, int64_t any_as, const T* b, int64_t any_bs, T* c, int64_t cs,
                      int64_t any_depth, bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  const int64_t as = C ? C : any_as, bs = C ? C : any_bs, depth = C ? C : any_depth;
  Vec<T> sum[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) sum[i][v] = accumulate ? load(c + i * cs + v * L) : Vec<T>{};
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; k++) {
    Vec<T> right[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) right[v] = load(b + k * bs + v * L);
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
      const Vec<T> left = fill(a[i * as + k]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) sum[i][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) store(c + i * cs + v * L, sum[i][v]);
}

template <typename T, int NV, int C>
inline void gemm_panel(int64_t rows, int64_t depth, const T* a, int64_t as, const T* b, int64_t bs, T* c,
                       int64_t cs, bool accumulate) {
  int64_t i = 0;
  while (i < rows) {
    const int64_t left = rows - i;
    const T* ai = a + i * as;
    T* ci = c + i * cs;
    if (left >= 6 && left != 8) {
      gemm_tile<T, 6, NV, C>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 6;
    } else if (left >= 4) {
      gemm_tile<T, 4, NV, C>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 4;
    } else {
      gemm_tile<T, 1, NV, C>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 1;
    }
  }
}

template <typename T, int C>
void gemm_of(int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t as, const T* b, T* c,
             int64_t cs, bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  int64_t j = 0;
  for (; j + 2 * L <= columns; j += 2 * L)
    gemm_panel<T, 2, C>(rows, depth, a, as, b + j, columns, c + j, cs, accumulate);
  for (; j < columns; j += L)
    gemm_panel<T, 1, C>(rows, depth, a, as, b + j, columns, c + j, cs, accumulate);
}

// c [rows, columns] (+)= a [rows, depth] b [depth, columns].
template <typename T>
void gemm(int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t as, const T* b, T* c,
          int64_t cs, bool accumulate) {
  auto* run = gemm_of<T, 0>;
  if (as == depth && columns == depth) {
    if (depth == 16) run = gemm_of<T, 16>;
    if (depth == 32) run = gemm_of<T, 32>;
    if (depth == 64) run = gemm_of<T, 64>;
  }
  run(rows, columns, depth, a, as, b, c, cs, accumulate);
}

// MR rows and NV vectors of c [ca, cb] += sum_p a[p, :]' b[p, :].
template <typename T, int MR, int NV, int C>
inline void gram_tile(int64_t pixels, const T* a, int64_t any_as, const T* b, int64_t any_bs, T* c,
                      int64_t any_cs) {
  constexpr int64_t L = Lanes<T>::count;
  const int64_t as = C ? C : any_as, bs = C ? C : any_bs, cs = C ? C : any_cs;
  Vec<T> sum[MR][NV];
#pragma GCC unroll 4
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) sum[r][v] = load(c + r * cs + v * L);
#pragma GCC unroll 2
  for (int64_t p = 0; p < pixels; p++) {
    Vec<T> right[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) right[v] = load(b + p * bs + v * L);
#pragma GCC unroll 4
    for (int r = 0; r < MR; r++) {
      const Vec<T> left = fill(a[p * as + r]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) store(c + r * cs + v * L, sum[r][v]);
}

template <typename T, int C>
void gram_of(int64_t pixels, const T* a, int64_t as, int64_t ca, const T* b, int64_t bs, int64_t cb, T* c) {
  constexpr int64_t L = Lanes<T>::count;
  int64_t j = 0;
  for (; j + 2 * L <= cb; j += 2 * L)
    for (int64_t i = 0; i < ca; i += 4)
      gram_tile<T, 4, 2, C>(pixels, a + i, as, b + j, bs, c + i * cb + j, cb);
  for (; j < cb; j += L)
    for (int64_t i = 0; i < ca; i += 4)
      gram_tile<T, 4, 1, C>(pixels, a + i, as, b + j, bs, c + i * cb + j, cb);
}

// c [ca, cb] += sum_p a[p, :]' b[p, :].
template <typename T>
void gram(int64_t pixels, const T* a, int64_t as, int64_t ca, const T* b, int64_t bs, int64_t cb, T* c) {
  auto* run = gram_of<T, 0>;
  if (as == cb && bs == cb) {
    if (cb == 16) run = gram_of<T, 16>;
    if (cb == 32) run = gram_of<T, 32>;
    if (cb == 64) run = gram_of<T, 64>;
  }
  run(pixels, a, as, ca, b, bs, cb, c);
}

// One row of a depthwise convolution. `in` points at the first tap of the first output pixel in
// rows of `row` elements; w is [K * K, C].
template <typename T, int K, int C, int S>
void depthwise_row_of(const T* in, int64_t row, const T* w, T* out, int64_t pixels, int64_t any_channels,
                      int64_t any_stride, int64_t dilation, bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int TILE = 8;
  const int64_t channels = C ? C : any_channels;
  const int64_t step = (S ? S : any_stride) * channels, hop = dilation * channels;
  for (int64_t c = 0; c < channels; c += L) {
    int64_t x = 0;
    for (; x + TILE <= pixels; x += TILE) {
      Vec<T> sum[TILE];
      T* o = out + x * channels + c;
#pragma GCC unroll 8
      for (int t = 0; t < TILE; t++) sum[t] = accumulate ? load(o + t * channels) : Vec<T>{};
      const T* corner = in + x * step + c;
      const T* weights = w + c;
#pragma GCC unroll 1
      for (int ky = 0; ky < K; ky++) {
        const T* tap = corner + ky * dilation * row;
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) {
          const Vec<T> weight = load(weights + kx * channels);
#pragma GCC unroll 8
          for (int t = 0; t < TILE; t++) sum[t] += weight * load(tap + t * step);
          tap += hop;
        }
        weights += K * channels;
      }
#pragma GCC unroll 8
      for (int t = 0; t < TILE; t++) store(o + t * channels, sum[t]);
    }
    for (; x < pixels; x++) {
      T* o = out + x * channels + c;
      Vec<T> sum = accumulate ? load(o) : Vec<T>{};
      for (int ky = 0; ky < K; ky++)
        for (int kx = 0; kx < K; kx++)
          sum += load(w + (ky * K + kx) * channels + c) *
                 load(in + x * step + c + ky * dilation * row + kx * hop);
      store(o, sum);
    }
  }
}

// dw [K * K, C] += the depthwise weight gradient of an image. `g` has pixels `stride` pixels and
// rows `g_row` elements apart.
template <typename T, int K, int C, int S>
void depthwise_weight_grad_of(const T* in, int64_t row, const T* g, int64_t g_row, int64_t height,
                              int64_t width, int64_t any_channels, int64_t any_stride, int64_t dilation,
                              T* dw) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int ROWS = K == 3 ? 3 : (K == 5 ? 2 : 1);  // as many sums as registers hold
  const int64_t channels = C ? C : any_channels, stride = S ? S : any_stride;
  const int64_t step = stride * channels, hop = dilation * channels;
  for (int64_t c = 0; c < channels; c += L) {
    int ky = 0;
    auto rows = [&](auto count) {
      constexpr int R = decltype(count)::value;
      Vec<T> sum[R][K];
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) sum[r][kx] = Vec<T>{};
      for (int64_t y = 0; y < height; y++) {
        const T* gy = g + y * g_row + c;
        const T* iy = in + (y * stride + ky * dilation) * row + c;
        for (int64_t x = 0; x < width; x++) {
          const Vec<T> gv = load(gy + x * step);
#pragma GCC unroll 3
          for (int r = 0; r < R; r++)
#pragma GCC unroll 7
            for (int kx = 0; kx < K; kx++)
              sum[r][kx] += gv * load(iy + r * dilation * row + x * step + kx * hop);
        }
      }
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) {
          T* at = dw + ((ky + r) * K + kx) * channels + c;
          store(at, load(at) + sum[r][kx]);
        }
      ky += R;
    };
    while (ky + ROWS <= K) rows(std::integral_constant<int, ROWS>{});
    while (ky < K) rows(std::integral_constant<int, 1>{});
  }
}

template <typename T>
struct Depthwise {
  decltype(&depthwise_row_of<T, 3, 0, 0>) row;
  decltype(&depthwise_weight_grad_of<T, 3, 0, 0>) weight_grad;
};

template <typename T, int K, int C>
Depthwise<T> depthwise_of(int64_t stride) {
  if (stride == 1) return {depthwise_row_of<T, K, C, 1>, depthwise_weight_grad_of<T, K, C, 1>};
  return {depthwise_row_of<T, K, C, 0>, depthwise_weight_grad_of<T, K, C, 0>};
}

template <typename T, int K>
Depthwise<T> depthwise_of(int64_t channels, int64_t stride) {
  if (channels == 16) return depthwise_of<T, K, 16>(stride);
  if (channels == 32) return depthwise_of<T, K, 32>(stride);
  if (channels == 64) return depthwise_of<T, K, 64>(stride);
  return depthwise_of<T, K, 0>(stride);
}

template <typename T>
Depthwise<T> depthwise_kernels(int64_t k, int64_t channels, int64_t stride) {
  if (k == 3) return depthwise_of<T, 3>(channels, stride);
  if (k == 5) return depthwise_of<T, 5>(channels, stride);
  if (k != 7)
    throw std::runtime_error("depthwise kernel size must be 3, 5 or 7, but is " + std::to_string(k));
  return depthwise_of<T, 7>(channels, stride);
}

// sum[c] += sum_p a[p, c], product[c] += sum_p a[p, c] b[p, c].
template <typename T>
inline void sums(int64_t pixels, int64_t channels, const T* a, int64_t as, const T* b, int64_t bs, T* sum,
                 T* product) {
  constexpr int64_t L = Lanes<T>::count;
  for (int64_t c = 0; c < channels; c += L) {
    Vec<T> s0{}, s1{}, p0{}, p1{};
    int64_t p = 0;
    for (; p + 2 <= pixels; p += 2) {
      const Vec<T> a0 = load(a + p * as + c), a1 = load(a + (p + 1) * as + c);
      s0 += a0;
      s1 += a1;
      p0 += a0 * load(b + p * bs + c);
      p1 += a1 * load(b + (p + 1) * bs + c);
    }
    for (; p < pixels; p++) {
      const Vec<T> a0 = load(a + p * as + c);
      s0 += a0;
      p0 += a0 * load(b + p * bs + c);
    }
    if (sum) store(sum + c, load(sum + c) + s0 + s1);
    if (product) store(product + c, load(product + c) + p0 + p1);
  }
}

}  // namespace
