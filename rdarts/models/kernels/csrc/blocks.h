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

// A block, [depth, kBlock], of `count` channels of a matrix whose rows are `step` elements apart.
template <typename T>
void to_rows_of_block(const T* w, int64_t count, int64_t depth, int64_t step, T* block) {
  for (int64_t k = 0; k < depth; k++, block += kBlock<T>)
    std::fill(std::copy_n(w + k * step, count, block), block + kBlock<T>, T(0));
}
template <typename T>
void from_rows_of_block(const T* block, int64_t count, int64_t depth, T* w, int64_t step) {
  for (int64_t k = 0; k < depth; k++, block += kBlock<T>) std::copy_n(block, count, w + k * step);
}

// A vector of channels, [blocks * kBlock].
template <typename T>
Buffer<T> vector_in_blocks(const double* row, int64_t channels) {
  Buffer<T> result(blocks_of<T>(channels) * kBlock<T>, T(0));
  std::transform(row, row + channels, result.begin(), [](double value) { return T(value); });
  return result;
}

// out [pixels, kBlock] = a [pixels, depth] b [depth, kBlock].
template <typename T>
void to_block(int64_t pixels, const T* a, int64_t as, int64_t depth, const T* b, T* out) {
  constexpr int most = rows_of(kVectors<T>);
  int64_t p = 0;
  auto tiles = [&](auto count) {
    constexpr int MR = decltype(count)::value;
    for (; p + MR <= pixels; p += MR)
      gemm_tile<T, MR, kVectors<T>, kNarrow>(a + p * as, as, b, kBlock<T>, out + p * kBlock<T>, kBlock<T>, depth,
                                             false);
  };
  tiles(std::integral_constant<int, most>{});
  tiles(std::integral_constant<int, 4>{});
  tiles(std::integral_constant<int, 1>{});
}

template <typename T, int NV>
void from_blocks_panel(int64_t pixels, const T* a, int64_t hop, int64_t blocks, const T* b, int64_t bs, T* c,
                       int64_t cs, bool accumulate) {
  int64_t p = 0;
  auto tiles = [&](auto count) {
    constexpr int MR = decltype(count)::value;
    for (; p + MR <= pixels; p += MR)
      gemm_tile<T, MR, NV, kNarrow>(a + p * kBlock<T>, kBlock<T>, b, bs, c + p * cs, cs, kBlock<T>, accumulate,
                                    blocks, hop);
  };
  tiles(std::integral_constant<int, rows_of(NV)>{});
  tiles(std::integral_constant<int, 2>{});
  tiles(std::integral_constant<int, 1>{});
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

// c [depth, kBlock] += a' b, for a [pixels, depth] and b [pixels, kBlock].
template <typename T>
void block_gram(int64_t pixels, const T* a, int64_t depth, const T* b, T* c) {
  constexpr int NV = kBlock<T> / Lanes<T, kWide>::count;
  int64_t r = 0;
  auto tiles = [&](auto count, int64_t but) {
    constexpr int MR = decltype(count)::value;
    for (; depth - r >= MR && depth - r != but; r += MR)
      gram_tile<T, MR, NV, kWide>(pixels, a + r, depth, b, kBlock<T>, c + r * kBlock<T>, kBlock<T>);
  };
  if (rows_of(NV) == 12) tiles(std::integral_constant<int, 12>{}, 16);  // two tiles of 8 instead
  if (rows_of(NV) == 12) tiles(std::integral_constant<int, 8>{}, 0);
  tiles(std::integral_constant<int, 4>{}, 0);
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
  Vec<T, kWide> sum[R][K];
#pragma GCC unroll 3
  for (int r = 0; r < R; r++)
#pragma GCC unroll 7
    for (int kx = 0; kx < K; kx++) sum[r][kx] = Vec<T, kWide>{};
  for (int64_t y = 0; y < height; y++) {
    const T* gy = g + y * g_row;
    const T* iy = in + y * S * row;
    int64_t x = 0;
    for (; x + STEP <= width; x += STEP, gy += STEP * S * kBlock<T>, iy += STEP * S * kBlock<T>) {
      Vec<T, kWide> grad[STEP];
#pragma GCC unroll 4
      for (int t = 0; t < STEP; t++) grad[t] = load<kWide>(gy + t * S * kBlock<T>);
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 16
        for (int j = 0; j < (STEP - 1) * S + K; j++) {
          const Vec<T, kWide> value = load<kWide>(iy + r * row + j * kBlock<T>);
#pragma GCC unroll 4
          for (int t = 0; t < STEP; t++)
            if (j - t * S >= 0 && j - t * S < K) sum[r][j - t * S] += grad[t] * value;
        }
    }
    for (; x < width; x++, gy += S * kBlock<T>, iy += S * kBlock<T>) {
      const Vec<T, kWide> grad = load<kWide>(gy);
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) sum[r][kx] += grad * load<kWide>(iy + r * row + kx * kBlock<T>);
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < R; r++)
#pragma GCC unroll 7
    for (int kx = 0; kx < K; kx++) {
      T* to = dw + (r * K + kx) * kBlock<T>;
      store(to, load<kWide>(to) + sum[r][kx]);
    }
}

// dw [K * K, kBlock] += the weight gradient of an image of h rows, which `in` [h + 2 padding, row] has in
// zeros; pixels of g [height, width, kBlock] are S apart, and its rows `g_row` elements.
template <typename T, int K, int S>
void block_taps(const T* in, int64_t row, int64_t h, int64_t padding, const T* g, int64_t g_row, int64_t height,
                int64_t width, T* dw) {
  constexpr int ROWS = K == 3 ? 3 : K == 5 || kSums == 24 ? 2 : 1;  // as many sums as registers hold
  for (int64_t i = 0; i < kBlock<T>; i += Lanes<T, kWide>::count) {
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

// d = 0 where relu6(scale x + shift) is constant; then sum += d, product += d x, and d *= factor if given.
template <typename T>
void through_block_relu6(int64_t pixels, T* d, const T* x, const T* scale, const T* shift, T* sum, T* product,
                         const T* factor = nullptr) {
  constexpr int64_t L = Lanes<T, kWide>::count;
  const Vec<T, kWide> six = fill<kWide>(T(6));
  for (int64_t c = 0; c < kBlock<T>; c += L) {
    const Vec<T, kWide> a = load<kWide>(scale + c), b = load<kWide>(shift + c);
    const Vec<T, kWide> times = factor ? load<kWide>(factor + c) : fill<kWide>(T(1));
    Vec<T, kWide> total{}, products{};  // apart from the sums so far: rounding grows with what is in one
    for (int64_t p = 0; p < pixels; p++) {
      const int64_t i = p * kBlock<T> + c;
      const Vec<T, kWide> value = load<kWide>(x + i), normal = value * a + b;
      const Vec<T, kWide> kept = (normal <= Vec<T, kWide>{}) | (normal >= six) ? Vec<T, kWide>{} : load<kWide>(d + i);
      store(d + i, kept * times);
      total += kept;
      products += kept * value;
    }
    store(sum + c, load<kWide>(sum + c) + total);
    store(product + c, load<kWide>(product + c) + products);
  }
}

}  // namespace
