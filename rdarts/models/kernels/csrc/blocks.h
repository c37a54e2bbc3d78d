// Images whose channels lie in blocks of 64 bytes, [blocks, N, H, W, kBlock]: whatever their number,
// each block of an image is contiguous, and what is beyond the last channel is 0. Products of
// matrices and depthwise convolutions over one block, for which tiles fit the first two caches.

#pragma once

#include "tensors.h"

namespace {

template <typename T>
constexpr int64_t kBlock = 64 / sizeof(T);
template <typename T>
constexpr int kVectors = kBlock<T> / Lanes<T>::count;  // of a block

// Vectors that registers hold as sums, beside what is multiplied.
#ifdef __AVX512VL__
constexpr int kSums = 24;
#else
constexpr int kSums = 12;
#endif
// Rows of a tile of `vectors` columns; a few more would not hide more latency.
constexpr int rows_of(int vectors) { return std::min(12, kSums / vectors); }

template <typename T>
int64_t blocks_of(int64_t channels) {
  return (channels + kBlock<T> - 1) / kBlock<T>;
}

template <typename T>
Tensor fresh_blocks(int64_t channels, int64_t n, int64_t h, int64_t w, const Tensor& like) {
  return fresh({blocks_of<T>(channels), n, h, w, kBlock<T>}, like);
}

// [blocks, depth, kBlock] of a matrix whose element (k, channel) is w[k * by_depth + channel * by_channel].
template <typename T>
Buffer<T> in_blocks(const T* w, int64_t channels, int64_t depth, int64_t by_channel, int64_t by_depth) {
  Buffer<T> result(blocks_of<T>(channels) * depth * kBlock<T>, T(0));
  for (int64_t first = 0; first < channels; first += kBlock<T>) {
    T* to = result.data() + first * depth;
    const int64_t count = std::min(kBlock<T>, channels - first);
    for (int64_t k = 0; k < depth; k++)
      for (int64_t i = 0; i < count; i++) to[k * kBlock<T> + i] = w[(first + i) * by_channel + k * by_depth];
  }
  return result;
}

// A vector of channels, [blocks * kBlock].
template <typename T>
Buffer<T> vector_in_blocks(const double* row, int64_t channels) {
  Buffer<T> result(blocks_of<T>(channels) * kBlock<T>, T(0));
  std::transform(row, row + channels, result.begin(), [](double value) { return T(value); });
  return result;
}

// out [pixels, kBlock] = a [pixels, depth] b [depth, kBlock], for MR pixels.
template <typename T, int MR>
inline void to_block_tile(const T* a, int64_t as, int64_t depth, const T* b, T* out) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int V = kVectors<T>;
  Vec<T> sum[MR][V];
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) sum[i][v] = Vec<T>{};
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; k++) {
    Vec<T> right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) right[v] = load(b + k * kBlock<T> + v * L);
#pragma GCC unroll 12
    for (int i = 0; i < MR; i++) {
      const Vec<T> left = fill(a[i * as + k]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[i][v] += left * right[v];
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) store(out + i * kBlock<T> + v * L, sum[i][v]);
}

template <typename T>
void to_block(int64_t pixels, const T* a, int64_t as, int64_t depth, const T* b, T* out) {
  constexpr int most = rows_of(kVectors<T>);
  int64_t p = 0;
  for (; p + most <= pixels; p += most) to_block_tile<T, most>(a + p * as, as, depth, b, out + p * kBlock<T>);
  for (; p + 4 <= pixels; p += 4) to_block_tile<T, 4>(a + p * as, as, depth, b, out + p * kBlock<T>);
  for (; p < pixels; p++) to_block_tile<T, 1>(a + p * as, as, depth, b, out + p * kBlock<T>);
}

// c [MR, NV vectors] (+)= a b over `blocks` blocks of a, `hop` elements apart; b is [channels, bs].
template <typename T, int MR, int NV>
inline void from_blocks_tile(const T* a, int64_t hop, int64_t blocks, const T* b, int64_t bs, T* c, int64_t cs,
                             bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  Vec<T> sum[MR][NV];
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) sum[i][v] = accumulate ? load(c + i * cs + v * L) : Vec<T>{};
  for (int64_t block = 0; block < blocks; block++, a += hop, b += kBlock<T> * bs) {
#pragma GCC unroll 2
    for (int64_t k = 0; k < kBlock<T>; k++) {
      Vec<T> right[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) right[v] = load(b + k * bs + v * L);
#pragma GCC unroll 12
      for (int i = 0; i < MR; i++) {
        const Vec<T> left = fill(a[i * kBlock<T> + k]);
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) sum[i][v] += left * right[v];
      }
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) store(c + i * cs + v * L, sum[i][v]);
}

template <typename T, int NV>
void from_blocks_panel(int64_t pixels, const T* a, int64_t hop, int64_t blocks, const T* b, int64_t bs, T* c,
                       int64_t cs, bool accumulate) {
  constexpr int most = rows_of(NV);
  int64_t p = 0;
  for (; p + most <= pixels; p += most)
    from_blocks_tile<T, most, NV>(a + p * kBlock<T>, hop, blocks, b, bs, c + p * cs, cs, accumulate);
  for (; p + 2 <= pixels; p += 2)
    from_blocks_tile<T, 2, NV>(a + p * kBlock<T>, hop, blocks, b, bs, c + p * cs, cs, accumulate);
  for (; p < pixels; p++)
    from_blocks_tile<T, 1, NV>(a + p * kBlock<T>, hop, blocks, b, bs, c + p * cs, cs, accumulate);
}

// c [pixels, columns] (+)= a b, for a [blocks, pixels, kBlock] whose blocks are `hop` elements apart, and
// b [blocks * kBlock, columns].
template <typename T>
void from_blocks(int64_t pixels, const T* a, int64_t hop, int64_t blocks, const T* b, int64_t columns, T* c,
                 bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int widest = kSums == 24 ? 4 : 2;
  for (int64_t j = 0; j < columns;) {
    const int64_t left = (columns - j) / L;
    const int take = left <= widest ? int(left) : left == widest + 1 && widest > 2 ? widest - 1 : widest;
    auto* run = take == 4   ? from_blocks_panel<T, 4>
                : take == 3 ? from_blocks_panel<T, 3>
                : take == 2 ? from_blocks_panel<T, 2>
                            : from_blocks_panel<T, 1>;
    run(pixels, a, hop, blocks, b + j, columns, c + j, columns, accumulate);
    j += take * L;
  }
}

// MR rows of c [depth, kBlock] += a' b, for a [pixels, depth] and b [pixels, kBlock].
template <typename T, int MR>
inline void block_gram_tile(int64_t pixels, const T* a, int64_t as, const T* b, T* c) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int V = kVectors<T>;
  Vec<T> sum[MR][V];
#pragma GCC unroll 12
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) sum[r][v] = load(c + r * kBlock<T> + v * L);
#pragma GCC unroll 2
  for (int64_t p = 0; p < pixels; p++) {
    Vec<T> right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) right[v] = load(b + p * kBlock<T> + v * L);
#pragma GCC unroll 12
    for (int r = 0; r < MR; r++) {
      const Vec<T> left = fill(a[p * as + r]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) store(c + r * kBlock<T> + v * L, sum[r][v]);
}

template <typename T>
void block_gram(int64_t pixels, const T* a, int64_t depth, const T* b, T* c) {
  int64_t r = 0;
  if (rows_of(kVectors<T>) == 12)
    for (; depth - r >= 12 && depth - r != 16; r += 12)
      block_gram_tile<T, 12>(pixels, a + r, depth, b, c + r * kBlock<T>);
  for (; r < depth; r += 4) block_gram_tile<T, 4>(pixels, a + r, depth, b, c + r * kBlock<T>);
}

// TILE pixels of a depthwise convolution of one vector of channels.
template <typename T, int K, int S, int TILE>
inline void block_row_tile(const T* in, int64_t row, int64_t rows, const T* w, int64_t w_row, T* out) {
  Vec<T> sum[TILE];
#pragma GCC unroll 16
  for (int t = 0; t < TILE; t++) sum[t] = Vec<T>{};
#pragma GCC unroll 1
  for (int64_t y = 0; y < rows; y++, in += row, w += w_row) {
    Vec<T> tap[K];
#pragma GCC unroll 7
    for (int kx = 0; kx < K; kx++) tap[kx] = load(w + kx * kBlock<T>);
#pragma GCC unroll 32
    for (int j = 0; j < (TILE - 1) * S + K; j++) {
      const Vec<T> value = load(in + j * kBlock<T>);
#pragma GCC unroll 16
      for (int t = 0; t < TILE; t++)
        if (j - t * S >= 0 && j - t * S < K) sum[t] += tap[j - t * S] * value;
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < TILE; t++) store(out + t * kBlock<T>, sum[t]);
}

// One row of a depthwise convolution of a block: out [pixels, kBlock]. `in` points at the first tap of the
// first pixel; of `rows` rows that are `row` elements apart, and w's [K, kBlock] `w_row` elements.
template <typename T, int K, int S>
void block_row(const T* in, int64_t row, int64_t rows, const T* w, int64_t w_row, T* out, int64_t pixels) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int most = kSums == 24 && S == 1 ? 16 : 8;
  for (int64_t i = 0; i < kBlock<T>; i += L) {
    int64_t p = 0;
    auto tiles = [&](auto count) {
      constexpr int TILE = decltype(count)::value;
      for (; p + TILE <= pixels; p += TILE)
        block_row_tile<T, K, S, TILE>(in + p * S * kBlock<T> + i, row, rows, w + i, w_row,
                                      out + p * kBlock<T> + i);
    };
    tiles(std::integral_constant<int, most>{});
    if (most > 8) tiles(std::integral_constant<int, 8>{});
    tiles(std::integral_constant<int, 4>{});
    tiles(std::integral_constant<int, 1>{});
  }
}

// R rows of taps of dw [K * K, kBlock] += the weight gradient of a depthwise convolution of an image.
template <typename T, int K, int S, int R>
inline void block_taps_tile(const T* in, int64_t row, const T* g, int64_t g_row, int64_t height, int64_t width,
                            T* dw) {
  constexpr int STEP = 4;
  Vec<T> sum[R][K];
#pragma GCC unroll 3
  for (int r = 0; r < R; r++)
#pragma GCC unroll 7
    for (int kx = 0; kx < K; kx++) sum[r][kx] = Vec<T>{};
  for (int64_t y = 0; y < height; y++) {
    const T* gy = g + y * g_row;
    const T* iy = in + y * S * row;
    int64_t x = 0;
    for (; x + STEP <= width; x += STEP, gy += STEP * S * kBlock<T>, iy += STEP * S * kBlock<T>) {
      Vec<T> grad[STEP];
#pragma GCC unroll 4
      for (int t = 0; t < STEP; t++) grad[t] = load(gy + t * S * kBlock<T>);
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 16
        for (int j = 0; j < (STEP - 1) * S + K; j++) {
          const Vec<T> value = load(iy + r * row + j * kBlock<T>);
#pragma GCC unroll 4
          for (int t = 0; t < STEP; t++)
            if (j - t * S >= 0 && j - t * S < K) sum[r][j - t * S] += grad[t] * value;
        }
    }
    for (; x < width; x++, gy += S * kBlock<T>, iy += S * kBlock<T>) {
      const Vec<T> grad = load(gy);
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) sum[r][kx] += grad * load(iy + r * row + kx * kBlock<T>);
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < R; r++)
#pragma GCC unroll 7
    for (int kx = 0; kx < K; kx++) {
      T* to = dw + (r * K + kx) * kBlock<T>;
      store(to, load(to) + sum[r][kx]);
    }
}

// dw [K * K, kBlock] += the weight gradient of an image of h rows, which `in` [h + 2 padding, row] has in
// zeros; pixels of g [height, width, kBlock] are S apart, and its rows `g_row` elements.
template <typename T, int K, int S>
void block_taps(const T* in, int64_t row, int64_t h, int64_t padding, const T* g, int64_t g_row, int64_t height,
                int64_t width, T* dw) {
  constexpr int ROWS = K == 3 ? 3 : K == 5 || kSums == 24 ? 2 : 1;  // as many sums as registers hold
  for (int64_t i = 0; i < kBlock<T>; i += Lanes<T>::count) {
    int64_t ky = 0;
    auto tiles = [&](auto count) {
      constexpr int R = decltype(count)::value;
      for (; ky + R <= K; ky += R) {
        // other rows of g meet zeros alone
        const int64_t top = std::max<int64_t>(0, (padding - ky - R + S) / S);
        const int64_t end = std::min(height, (h - 1 + padding - ky) / S + 1);
        block_taps_tile<T, K, S, R>(in + (top * S + ky) * row + i, row, g + top * g_row + i, g_row, end - top,
                                    width, dw + ky * K * kBlock<T> + i);
      }
    };
    tiles(std::integral_constant<int, ROWS>{});
    tiles(std::integral_constant<int, 1>{});
  }
}

template <typename T>
struct BlockConv {
  decltype(&block_row<T, 3, 1>) row;
  decltype(&block_taps<T, 3, 1>) taps;
};

template <typename T, int K>
BlockConv<T> block_conv(int64_t stride) {
  if (stride == 1) return {block_row<T, K, 1>, block_taps<T, K, 1>};
  return {block_row<T, K, 2>, block_taps<T, K, 2>};
}

template <typename T>
BlockConv<T> block_conv(int64_t k, int64_t stride) {
  TORCH_CHECK(stride == 1 || stride == 2, "stride must be 1 or 2, but is ", stride);
  if (k == 3) return block_conv<T, 3>(stride);
  if (k == 5) return block_conv<T, 5>(stride);
  TORCH_CHECK(k == 7, "depthwise kernel size must be 3, 5 or 7, but is ", k);
  return block_conv<T, 7>(stride);
}

// sum += a, product += a b, over pixels of a block.
template <typename T>
void block_sums(int64_t pixels, const T* a, const T* b, T* sum, T* product) {
  sums<T>(pixels, kBlock<T>, a, kBlock<T>, b, kBlock<T>, sum, product);
}

// out = relu6(scale x + shift) of a block.
template <typename T>
void block_relu6(int64_t pixels, const T* x, const T* scale, const T* shift, T* out) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int V = kVectors<T>;
  for (int64_t p = 0; p < pixels; p++)
    for (int v = 0; v < V; v++) {
      const int64_t i = p * kBlock<T> + v * L;
      store(out + i, relu6<T>(load(x + i) * load(scale + v * L) + load(shift + v * L)));
    }
}

// d = 0 where relu6(scale x + shift) is constant; then sum += d, product += d x.
template <typename T>
void through_block_relu6(int64_t pixels, T* d, const T* x, const T* scale, const T* shift, T* sum, T* product) {
  constexpr int64_t L = Lanes<T>::count;
  const Vec<T> six = fill(T(6));
  for (int64_t c = 0; c < kBlock<T>; c += L) {
    const Vec<T> a = load(scale + c), b = load(shift + c);
    Vec<T> total{}, products{};  // apart from the sums so far: rounding grows with what is in one
    for (int64_t p = 0; p < pixels; p++) {
      const int64_t i = p * kBlock<T> + c;
      const Vec<T> value = load(x + i), normal = value * a + b;
      const Vec<T> kept = (normal <= Vec<T>{}) | (normal >= six) ? Vec<T>{} : load(d + i);
      store(d + i, kept);
      total += kept;
      products += kept * value;
    }
    store(sum + c, load(sum + c) + total);
    store(product + c, load(product + c) + products);
  }
}

}  // namespace
