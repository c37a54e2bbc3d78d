// Rows of depthwise convolutions and of their weights' gradients. Nothing here knows a tensor or PyTorch.

#pragma once

#include <stdexcept>
#include <string>
#include <type_traits>

#include "vectors.h"

namespace {

// TILE pixels of a row of a depthwise convolution. Each pixel that is read is read once for all
// taps that want it; S and D are stride and dilation.
template <typename T, int K, int S, int D, int TILE, int64_t W>
__attribute__((always_inline)) inline void depthwise_tile(const T* const* rows, const T* const* weights, int64_t count, int64_t from,
                           T* out, int64_t channels, bool accumulate) {
  Vec<T, W> sum[TILE];
#pragma GCC unroll 8
  for (int t = 0; t < TILE; t++) sum[t] = accumulate ? load<W>(out + t * channels) : Vec<T, W>{};
#pragma GCC unroll 1
  for (int64_t r = 0; r < count; r++) {
    const T* in = rows[r] + from;
    Vec<T, W> tap[K];
#pragma GCC unroll 7
    for (int kx = 0; kx < K; kx++) tap[kx] = load<W>(weights[r] + kx * channels);
#pragma GCC unroll 32
    for (int s = 0; s <= (TILE - 1) * S + (K - 1) * D; s++, in += channels) {
      Vec<T, W> value = load<W>(in);
      keep(value);
#pragma GCC unroll 7
      for (int kx = 0; kx < K; kx++) {
        const int t = (s - kx * D) / S;
        if (s >= kx * D && (s - kx * D) % S == 0 && t < TILE) sum[t] += tap[kx] * value;
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < TILE; t++) store(out + t * channels, sum[t]);
}

// One row of a depthwise convolution: the sum over `count` rows of taps. rows[r] is the first tap
// of the first output pixel, weights[r] is [K, C].
template <typename T, int K, int S, int D, typename C>
void depthwise_row_of(const T* const* rows, const T* const* weights, int64_t count, T* out, int64_t pixels,
                      int64_t any_channels, int64_t any_stride, int64_t any_dilation, bool accumulate) {
  constexpr int64_t W = C::bytes, L = Lanes<T, W>::count;
  const int64_t channels = C::or_any(any_channels);
  const int64_t step = (S ? S : any_stride) * channels, hop = (S ? D : any_dilation) * channels;
  for (int64_t c = 0; c < channels; c += L) {
    int64_t x = 0;
    const T* shifted[K];
    for (int64_t r = 0; r < count; r++) shifted[r] = weights[r] + c;
    if constexpr (S > 0) {
      for (; x + 8 <= pixels; x += 8)
        depthwise_tile<T, K, S, D, 8, W>(rows, shifted, count, x * step + c, out + x * channels + c, channels,
                                         accumulate);
      for (; x + 4 <= pixels; x += 4)
        depthwise_tile<T, K, S, D, 4, W>(rows, shifted, count, x * step + c, out + x * channels + c, channels,
                                         accumulate);
    }
    for (; x < pixels; x++) {
      T* o = out + x * channels + c;
      Vec<T, W> sum = accumulate ? load<W>(o) : Vec<T, W>{};
      for (int64_t r = 0; r < count; r++)
        for (int kx = 0; kx < K; kx++)
          sum += load<W>(shifted[r] + kx * channels) * load<W>(rows[r] + x * step + kx * hop + c);
      store(o, sum);
    }
  }
}

// TILE pixels of a row of a depthwise weight gradient, for R rows of taps; as depthwise_tile reads them.
template <typename T, int K, int S, int D, int TILE, int R, int64_t W>
__attribute__((always_inline)) inline void depthwise_weight_tile(const T* const* rows, int64_t from, const T* g,
                                                                 int64_t channels, Vec<T, W> (&sum)[R][K]) {
  Vec<T, W> grad[TILE];
#pragma GCC unroll 8
  for (int t = 0; t < TILE; t++) keep(grad[t] = load<W>(g + from + t * S * channels));
  const T* in[R];
#pragma GCC unroll 5
  for (int r = 0; r < R; r++) in[r] = rows[r] + from;
#pragma GCC unroll 32
  for (int s = 0; s <= (TILE - 1) * S + (K - 1) * D; s++)
#pragma GCC unroll 5
    for (int r = 0; r < R; r++) {
      Vec<T, W> value = load<W>(in[r]);
      keep(value);
      in[r] += channels;
#pragma GCC unroll 7
      for (int kx = 0; kx < K; kx++) {
        const int t = (s - kx * D) / S;
        if (s >= kx * D && (s - kx * D) % S == 0 && t < TILE) sum[r][kx] += grad[t] * value;
      }
    }
}

// dw [K * K, C] += the depthwise weight gradient of `count` rows of gradients g[y], whose pixels are
// `stride` pixels apart; rows[y * K + ky] is the first tap of its first pixel.
template <typename T, int K, int S, int D, typename C>
void depthwise_weight_rows_of(const T* const* rows, const T* const* g, int64_t count, T* dw, int64_t pixels,
                              int64_t any_channels, int64_t any_stride, int64_t any_dilation) {
  constexpr int64_t W = C::bytes, L = Lanes<T, W>::count;
  // Rows of sums that fit beside a tile's gradients. A longer tile finds more of a dilated window's pixels twice.
  constexpr bool LONG = kRegisters == 32 && K == 5 && D == 2;
  constexpr int MOST = kRegisters == 32 ? (K == 5 && !LONG ? 5 : 3) : (K == 3 ? 3 : 1);
  constexpr int TILE = LONG ? 8 : 4;
  const int64_t channels = C::or_any(any_channels);
  const int64_t step = (S ? S : any_stride) * channels, hop = (S ? D : any_dilation) * channels;
  for (int64_t c = 0; c < channels; c += L) {
    int64_t first = 0;
    auto run = [&](auto size) {
      constexpr int R = decltype(size)::value;
      T* to = dw + first * K * channels + c;
      Vec<T, W> sum[R][K];
#pragma GCC unroll 5
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) sum[r][kx] = load<W>(to + (r * K + kx) * channels);
      for (int64_t y = 0; y < count; y++) {
        const T* const* in = rows + y * K + first;
        int64_t x = 0;
        if constexpr (S > 0) {
          for (; x + TILE <= pixels; x += TILE)
            depthwise_weight_tile<T, K, S, D, TILE, R, W>(in, x * step + c, g[y], channels, sum);
          if constexpr (TILE == 8)
            for (; x + 4 <= pixels; x += 4)
              depthwise_weight_tile<T, K, S, D, 4, R, W>(in, x * step + c, g[y], channels, sum);
        }
        for (; x < pixels; x++)
#pragma GCC unroll 5
          for (int r = 0; r < R; r++)
#pragma GCC unroll 7
            for (int kx = 0; kx < K; kx++)
              sum[r][kx] += load<W>(g[y] + x * step + c) * load<W>(in[r] + x * step + kx * hop + c);
      }
#pragma GCC unroll 5
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) store(to + (r * K + kx) * channels, sum[r][kx]);
      first += R;
    };
    while (first + MOST <= K) run(std::integral_constant<int, MOST>{});
    if constexpr (K % MOST > 0) run(std::integral_constant<int, K % MOST>{});
  }
}

// The rows of taps that an output row finds inside of an image, at most 7, with their weights [K, C].
template <typename T>
struct Window {
  const T* rows[7];
  const T* weights[7];
  int64_t count = 0;
  void add(const T* row, const T* weight) {
    rows[count] = row;
    weights[count++] = weight;
  }
};

// The kernels of a depthwise convolution of a kernel size, number of channels and stride, for dilations
// 1, 2 and any.
template <typename T>
struct Depthwise {
  int64_t k;
  decltype(&depthwise_row_of<T, 3, 0, 0, Channels<0, kNarrow>>) rows[3];
  decltype(&depthwise_weight_rows_of<T, 3, 0, 0, Channels<0, kNarrow>>) weights[3];

  // out [pixels, C] (+)= the convolution of a window.
  void row(const Window<T>& window, T* out, int64_t pixels, int64_t channels, int64_t stride,
           int64_t dilation, bool accumulate) const {
    rows[place(dilation)](window.rows, window.weights, window.count, out, pixels, channels, stride, dilation,
                          accumulate);
  }

  // The same where all rows are there: `in` is the first tap of the first output pixel, `hop` the
  // elements from row to row, w is [K * K, C].
  void row(const T* in, int64_t hop, const T* w, T* out, int64_t pixels, int64_t channels, int64_t stride,
           int64_t dilation, bool accumulate) const {
    Window<T> window;
    for (int64_t ky = 0; ky < k; ky++) window.add(in + ky * dilation * hop, w + ky * k * channels);
    row(window, out, pixels, channels, stride, dilation, accumulate);
  }

  // See depthwise_weight_rows_of.
  void weight_rows(const std::vector<const T*>& in, const std::vector<const T*>& g, T* dw, int64_t pixels,
                   int64_t channels, int64_t stride, int64_t dilation) const {
    weights[place(dilation)](in.data(), g.data(), g.size(), dw, pixels, channels, stride, dilation);
  }

 private:
  static int place(int64_t dilation) { return dilation == 1 ? 0 : (dilation == 2 ? 1 : 2); }
};

template <typename T, int K>
Depthwise<T> depthwise_of(int64_t channels, int64_t stride) {
  auto of = [&](auto width) -> Depthwise<T> {
    using C = decltype(width);
    constexpr int FAR = K < 7 ? 2 : 0;  // no space dilates larger kernels
    constexpr auto row = depthwise_row_of<T, K, 0, 0, Channels<0, C::bytes>>;
    constexpr auto weight = depthwise_weight_rows_of<T, K, 0, 0, Channels<0, C::bytes>>;
    if (stride == 1)
      return {K,
              {depthwise_row_of<T, K, 1, 1, C>, depthwise_row_of<T, K, FAR / 2, FAR, C>, row},
              {depthwise_weight_rows_of<T, K, 1, 1, C>, depthwise_weight_rows_of<T, K, FAR / 2, FAR, C>, weight}};
    if (stride == 2)
      return {K,
              {depthwise_row_of<T, K, 2, 1, C>, depthwise_row_of<T, K, FAR, FAR, C>, row},
              {depthwise_weight_rows_of<T, K, 2, 1, C>, depthwise_weight_rows_of<T, K, FAR, FAR, C>, weight}};
    return {K, {row, row, row}, {weight, weight, weight}};
  };
  // Where they are constants, a row takes a tenth less; each of them takes seconds to compile.
  if constexpr (K < 7 && std::is_same_v<T, float>) return by_channels<T>(channels, of);
  else return by_width<T>(channels, of);
}

template <typename T>
Depthwise<T> depthwise_kernels(int64_t k, int64_t channels, int64_t stride) {
  if (k == 3) return depthwise_of<T, 3>(channels, stride);
  if (k == 5) return depthwise_of<T, 5>(channels, stride);
  if (k != 7)
    throw std::runtime_error("depthwise kernel size must be 3, 5 or 7, but is " + std::to_string(k));
  return depthwise_of<T, 7>(channels, stride);
}

}  // namespace
