// Dense 3x3 convolutions.

#include "tensors.h"

namespace {

// Winograd's F(2x2, 3x3): tiles of 2x2 outputs from 4x4 inputs, 16 products of matrices with 4/9
// of the multiplications (Lavin and Gray, https://arxiv.org/abs/1509.09308). It is bilinear in image and
// weights, so the weights' gradient takes the transposed transforms and 16 products, too.

// [C, O] for each of the 16 places, from w [O, C, 3, 3]; or with `backward` [O, C] of the
// convolution that takes gradients back.
template <typename T>
Buffer<T> winograd_weights(const T* w, int64_t o, int64_t c, bool backward) {
  Buffer<T> result(16 * o * c);
  for (int64_t i = 0; i < o; i++)
    for (int64_t j = 0; j < c; j++) {
      const T* g = w + (i * c + j) * 9;
      T half[4][3], full[4][4];
      for (int k = 0; k < 3; k++) {
        T a[3];
        for (int r = 0; r < 3; r++) a[r] = backward ? g[8 - (r * 3 + k)] : g[r * 3 + k];
        half[0][k] = a[0];
        half[1][k] = (a[0] + a[1] + a[2]) / 2;
        half[2][k] = (a[0] - a[1] + a[2]) / 2;
        half[3][k] = a[2];
      }
      for (int r = 0; r < 4; r++) {
        const T* a = half[r];
        full[r][0] = a[0];
        full[r][1] = (a[0] + a[1] + a[2]) / 2;
        full[r][2] = (a[0] - a[1] + a[2]) / 2;
        full[r][3] = a[2];
      }
      for (int at = 0; at < 16; at++)
        result[at * o * c + (backward ? i * c + j : j * o + i)] = full[at / 4][at % 4];
    }
  return result;
}

// `tiles` tiles of a row, two pixels apart, of a padded image into [16, hop] (a place's tiles).
template <typename T, typename C>
void winograd_input_of(const T* in, int64_t row, int64_t tiles, int64_t any_channels, T* out, int64_t hop) {
  constexpr int64_t W = C::bytes, L = Lanes<T, W>::count;
  const int64_t channels = C::or_any(any_channels);
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t c = 0; c < channels; c += L) {
      const T* at = in + t * 2 * channels + c;
      T* to = out + t * channels + c;
      Vec<T, W> half[4][4];
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) {
        const Vec<T, W> a = load<W>(at + x * channels), b = load<W>(at + row + x * channels);
        const Vec<T, W> d = load<W>(at + 2 * row + x * channels), e = load<W>(at + 3 * row + x * channels);
        half[0][x] = a - d;
        half[1][x] = b + d;
        half[2][x] = d - b;
        half[3][x] = b - e;
      }
#pragma GCC unroll 4
      for (int y = 0; y < 4; y++) {
        store(to + (4 * y) * hop, half[y][0] - half[y][2]);
        store(to + (4 * y + 1) * hop, half[y][1] + half[y][2]);
        store(to + (4 * y + 2) * hop, half[y][2] - half[y][1]);
        store(to + (4 * y + 3) * hop, half[y][1] - half[y][3]);
      }
    }
}

// The 2x2 outputs of a row of tiles, those inside of an image of `h` by `w` from (top, 0).
template <typename T, typename C>
void winograd_output_of(const T* in, int64_t hop, int64_t tiles, int64_t any_channels, T* out, int64_t w,
                        bool second_row, bool accumulate) {
  constexpr int64_t W = C::bytes, L = Lanes<T, W>::count;
  const int64_t channels = C::or_any(any_channels);
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t c = 0; c < channels; c += L) {
      const T* at = in + t * channels + c;
      Vec<T, W> half[2][4];
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) {
        const Vec<T, W> a = load<W>(at + x * hop), b = load<W>(at + (4 + x) * hop);
        const Vec<T, W> d = load<W>(at + (8 + x) * hop), e = load<W>(at + (12 + x) * hop);
        half[0][x] = a + b + d;
        half[1][x] = b - d - e;
      }
#pragma GCC unroll 2
      for (int y = 0; y < 2; y++) {
        if (y && !second_row) continue;
        T* to = out + (y * w + 2 * t) * channels + c;
        const Vec<T, W> left = half[y][0] + half[y][1] + half[y][2];
        const Vec<T, W> right = half[y][1] - half[y][2] - half[y][3];
        store(to, accumulate ? load<W>(to) + left : left);
        if (2 * t + 1 < w) store(to + channels, accumulate ? load<W>(to + channels) + right : right);
      }
    }
}

// The gradients of the 2x2 outputs of a row of tiles, from a padded image, into [16, hop].
template <typename T, typename C>
void winograd_grad_of(const T* in, int64_t row, int64_t tiles, int64_t any_channels, T* out, int64_t hop) {
  constexpr int64_t W = C::bytes, L = Lanes<T, W>::count;
  const int64_t channels = C::or_any(any_channels);
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t c = 0; c < channels; c += L) {
      const T* at = in + t * 2 * channels + c;
      T* to = out + t * channels + c;
      const Vec<T, W> a = load<W>(at), b = load<W>(at + channels);
      const Vec<T, W> d = load<W>(at + row), e = load<W>(at + row + channels);
      const Vec<T, W> half[4][2] = {{a, b}, {a + d, b + e}, {a - d, b - e}, {-d, -e}};
#pragma GCC unroll 4
      for (int y = 0; y < 4; y++) {
        store(to + (4 * y) * hop, half[y][0]);
        store(to + (4 * y + 1) * hop, half[y][0] + half[y][1]);
        store(to + (4 * y + 2) * hop, half[y][0] - half[y][1]);
        store(to + (4 * y + 3) * hop, -half[y][1]);
      }
    }
}

// The gradient of 3x3 weights, [9, size], from that of what winograd_weights made of them, [16, size].
template <typename T>
void winograd_taps(const T* in, int64_t size, T* out) {
  by_width<T>(size, [&](auto width) {
    constexpr int64_t W = decltype(width)::bytes;
    for (int64_t i = 0; i < size; i += Lanes<T, W>::count) {
      Vec<T, W> half[3][4];
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) {
        const auto a = load<W>(in + x * size + i), b = load<W>(in + (4 + x) * size + i);
        const auto d = load<W>(in + (8 + x) * size + i), e = load<W>(in + (12 + x) * size + i);
        half[0][x] = a + (b + d) / T(2);
        half[1][x] = (b - d) / T(2);
        half[2][x] = (b + d) / T(2) + e;
      }
#pragma GCC unroll 3
      for (int y = 0; y < 3; y++) {
        const auto middle = (half[y][1] + half[y][2]) / T(2);
        store(out + (3 * y) * size + i, half[y][0] + middle);
        store(out + (3 * y + 1) * size + i, (half[y][1] - half[y][2]) / T(2));
        store(out + (3 * y + 2) * size + i, middle + half[y][3]);
      }
    }
  });
}

template <typename T>
auto* winograd_input(int64_t channels) {
  return by_channels<T>(channels, [](auto of) { return &winograd_input_of<T, decltype(of)>; });
}

template <typename T>
auto* winograd_output(int64_t channels) {
  return by_channels<T>(channels, [](auto of) { return &winograd_output_of<T, decltype(of)>; });
}

template <typename T>
auto* winograd_grad(int64_t channels) {
  return by_channels<T>(channels, [](auto of) { return &winograd_grad_of<T, decltype(of)>; });
}

// Tiles of an image, in blocks of rows of tiles.
struct Tiling {
  int64_t h, w, rows, columns, block;
  Tiling(int64_t height, int64_t width)
      : h(height), w(width), rows((h + 1) / 2), columns((w + 1) / 2),
        block(std::max<int64_t>(1, std::min(rows, 16 / columns))) {}
  int64_t padded(int64_t channels) const { return (2 * rows + 2) * row(channels); }
  int64_t row(int64_t channels) const { return (2 * columns + 2) * channels; }
  int64_t places(int64_t channels) const { return block * columns * channels; }
};

// y[e] = the 3x3 convolution of relu(x) by w[e] [O, C, 3, 3] with padding 1, for E edges, and the
// moments of y [E, 2, O].
std::tuple<Tensor, Tensor> conv3x3_forward(const Tensor& x, const Tensor& weight_) {
  const Tensor weight = whole(weight_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const int64_t edges = weight.size(0), o = weight.size(1), c = weight.size(2);
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2);
  check_channels(c), check_channels(o);
  Tensor y = fresh({edges, n, h, w, o}, x);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(edges * 2 * o, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    std::vector<Buffer<T>> points;
    for (int64_t e = 0; e < edges; e++)
      points.push_back(winograd_weights(weight.const_data_ptr<T>() + e * o * c * 9, o, c, false));
    const Tiling tiling(h, w);
    const auto input = winograd_input<T>(c);
    const auto output = winograd_output<T>(o);
    const int64_t in_hop = tiling.places(c), out_hop = tiling.places(o), row = tiling.row(c);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded(tiling.padded(c), T(0)), places(16 * in_hop), products(16 * out_hop);
      Buffer<T> part(edges * 2 * o);
      for (int64_t i = begin; i < end; i++) {
        for (int64_t r = 0; r < h; r++)
          activate<T>(xs + (i * h + r) * w * c, w, c, nullptr, nullptr, &padded[(r + 1) * row + c]);
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t top = 0; top < tiling.rows; top += tiling.block) {
          const int64_t rows = std::min(tiling.block, tiling.rows - top), tiles = rows * tiling.columns;
          for (int64_t r = 0; r < rows; r++)
            input(&padded[2 * (top + r) * row], row, tiling.columns, c,
                  &places[r * tiling.columns * c], in_hop);
          for (int64_t e = 0; e < edges; e++) {
            for (int at = 0; at < 16; at++)
              gemm<T>(tiles, o, c, &places[at * in_hop], c, &points[e][at * c * o], &products[at * out_hop],
                      o, false);
            T* out = ys + (e * n + i) * h * w * o;
            for (int64_t r = 0; r < rows; r++)
              output(&products[r * tiling.columns * o], out_hop, tiling.columns, o,
                     out + 2 * (top + r) * w * o, w, 2 * (top + r) + 1 < h, false);
            const int64_t first = 2 * top, last = std::min(h, 2 * (top + rows));
            const T* done = out + first * w * o;
            sums<T>((last - first) * w, o, done, o, done, o, &part[e * 2 * o], &part[e * 2 * o + o]);
          }
        }
        add_to(totals[at::get_thread_num()].data(), part.data(), edges * 2 * o);
      }
    });
  });
  return {y, moments_of(totals, {edges, 2, o}, n * h * w, x)};
}

// Backward of conv3x3_forward and the batch norm after it; for `coefficients` see
// separable_backward. The gradient of relu(x) is put or added into `into` [N, H, W, C].
Tensor conv3x3_backward(TensorList g, const Tensor& y, const Tensor& coefficients_, const Tensor& x,
                        const Tensor& weight_, Tensor into, bool accumulate, bool weights) {
  const Tensor weight = whole(weight_), coefficients = whole(coefficients_);
  TORCH_CHECK(x.is_contiguous() && into.is_contiguous(), "x and into must be contiguous");
  const int64_t edges = weight.size(0), o = weight.size(1), c = weight.size(2);
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2);
  check_channels(c), check_channels(o);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(weights ? edges * 9 * o * c : 0, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    T* out = into.mutable_data_ptr<T>();
    std::vector<const T*> gs, ys;
    std::vector<int64_t> g_pixel, y_pixel;
    std::vector<Buffer<T>> points;
    for (int64_t e = 0; e < edges; e++) {
      gs.push_back(g[e].const_data_ptr<T>());
      g_pixel.push_back(shape_of(g[e]).pixel);
      const Tensor one = y.select(0, e);
      ys.push_back(one.const_data_ptr<T>());
      y_pixel.push_back(shape_of(one).pixel);
      points.push_back(winograd_weights(weight.const_data_ptr<T>() + e * o * c * 9, o, c, true));
    }
    const Tiling tiling(h, w);
    const auto input = winograd_input<T>(o), grad = winograd_grad<T>(o), active = winograd_input<T>(c);
    const auto output = winograd_output<T>(c);
    const int64_t in_hop = tiling.places(o), out_hop = tiling.places(c);
    const int64_t row = tiling.row(c), u_row = tiling.row(o), u_size = tiling.padded(o);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded(weights ? tiling.padded(c) : 0, T(0)), u(edges * u_size, T(0));
      Buffer<T> places(16 * in_hop), products(16 * out_hop);
      Buffer<T> grams(weights ? edges * 16 * o * c : 0), part(weights ? 9 * o * c : 0);
      double* total = totals[at::get_thread_num()].data();
      for (int64_t i = begin; i < end; i++) {
        if (weights)
          for (int64_t r = 0; r < h; r++)
            activate<T>(xs + (i * h + r) * w * c, w, c, nullptr, nullptr, &padded[(r + 1) * row + c]);
        for (int64_t e = 0; e < edges; e++) {
          for (int64_t r = 0; r < h; r++)
            norm_grad<T>(w, o, coef + e * 3 * o, o, gs[e] + (i * h + r) * w * g_pixel[e], g_pixel[e],
                         ys[e] + (i * h + r) * w * y_pixel[e], y_pixel[e], &u[e * u_size + (r + 1) * u_row + o], o);
        }
        if (weights) {
          std::fill(grams.begin(), grams.end(), T(0));
          for (int64_t top = 0; top < tiling.rows; top += tiling.block) {
            const int64_t rows = std::min(tiling.block, tiling.rows - top), tiles = rows * tiling.columns;
            for (int64_t r = 0; r < rows; r++)
              active(&padded[2 * (top + r) * row], row, tiling.columns, c, &products[r * tiling.columns * c],
                     out_hop);
            for (int64_t e = 0; e < edges; e++) {
              for (int64_t r = 0; r < rows; r++)
                grad(&u[e * u_size + (2 * (top + r) + 1) * u_row + o], u_row, tiling.columns, o,
                     &places[r * tiling.columns * o], in_hop);
              for (int at = 0; at < 16; at++)
                gram<T>(tiles, &places[at * in_hop], o, o, &products[at * out_hop], c, c,
                        &grams[(e * 16 + at) * o * c]);
            }
          }
          for (int64_t e = 0; e < edges; e++) {
            winograd_taps<T>(&grams[e * 16 * o * c], o * c, part.data());
            add_to(total + e * 9 * o * c, part.data(), 9 * o * c);
          }
        }
        T* to = out + i * h * w * c;
        for (int64_t top = 0; top < tiling.rows; top += tiling.block) {
          const int64_t rows = std::min(tiling.block, tiling.rows - top), tiles = rows * tiling.columns;
          for (int64_t e = 0; e < edges; e++) {
            for (int64_t r = 0; r < rows; r++)
              input(&u[e * u_size + 2 * (top + r) * u_row], u_row, tiling.columns, o,
                    &places[r * tiling.columns * o], in_hop);
            for (int at = 0; at < 16; at++)
              gemm<T>(tiles, c, o, &places[at * in_hop], o, &points[e][at * c * o], &products[at * out_hop],
                      c, e > 0);
          }
          for (int64_t r = 0; r < rows; r++)
            output(&products[r * tiling.columns * c], out_hop, tiling.columns, c,
                   to + 2 * (top + r) * w * c, w, 2 * (top + r) + 1 < h, accumulate);
        }
      }
    });
  });
  if (!weights) return nothing(x);
  return reduced(totals, {edges, 3, 3, o, c}, x).permute({0, 3, 4, 1, 2}).contiguous();
}

}  // namespace
