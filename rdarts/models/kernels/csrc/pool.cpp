// 3x3 pooling with padding 1.

#include "tensors.h"

namespace {

template <typename T>
std::vector<T> inverse_counts(int64_t size, int64_t out, int64_t stride) {
  std::vector<T> result(out);
  for (int64_t i = 0; i < out; i++) {
    const int64_t low = std::max<int64_t>(0, i * stride - 1), high = std::min(size, i * stride + 2);
    result[i] = T(1) / T(high - low);
  }
  return result;
}

template <typename V>
inline V larger(V a, V b) {  // NaN goes through
  return (b > a) | (b != b) ? b : a;
}

// A row of maxima: those of each column of the image's rows from `top` to `bottom`, into `columns`,
// which has a pixel more on either side, and then those of three of them.
template <typename T>
void max_row(const T* image, int64_t top, int64_t bottom, int64_t w, int64_t c, int64_t stride, int64_t ow,
             T* columns, T* out) {
  by_width<T>(c, [&](auto width) {
    constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
    for (int64_t i = 0; i < w * c; i += L) {
      auto best = load<W>(image + top * w * c + i);
      for (int64_t y = top + 1; y <= bottom; y++) best = larger(best, load<W>(image + y * w * c + i));
      store(columns + c + i, best);
    }
    for (int64_t q = 0; q < ow; q++)
      for (int64_t i = 0; i < c; i += L) {
        const T* at = columns + q * stride * c + i;
        store(out + q * c + i, larger(larger(load<W>(at), load<W>(at + c)), load<W>(at + 2 * c)));
      }
  });
}

// grad += the gradient `dy` of a row of maxima y, each to the first of its 3x3 pixels that is equal.
// Rows of the padded image and of its gradient are `hop` elements long; windows of a stride S of 1 or
// 2 overlap, and columns that they share stay in registers.
template <typename T, int S, int64_t W>
void max_row_grad_of(const T* in, int64_t hop, const T* y, const T* dy, T* grad, int64_t ow, int64_t c,
                     int64_t stride) {
  using V = Vec<T, W>;
  for (int64_t i = 0; i < c; i += Lanes<T, W>::count) {
    V x[3][3], d[3][3];
    auto flush = [&](int64_t column, int place) {
#pragma GCC unroll 3
      for (int r = 0; r < 3; r++) {
        T* to = grad + r * hop + column * c + i;
        store(to, load<W>(to) + d[r][place]);
      }
    };
    auto fetch = [&](int64_t column, int place) {
#pragma GCC unroll 3
      for (int r = 0; r < 3; r++) {
        x[r][place] = load<W>(in + r * hop + column * c + i);
        d[r][place] = V{};
      }
    };
#pragma GCC unroll 3
    for (int k = S; k < 3; k++) fetch(k - S, k);
    for (int64_t q = 0; q < ow; q++) {
#pragma GCC unroll 3
      for (int k = 0; k < 3 - S; k++)
#pragma GCC unroll 3
        for (int r = 0; r < 3; r++) {
          x[r][k] = x[r][k + S];
          d[r][k] = d[r][k + S];
        }
#pragma GCC unroll 3
      for (int k = 3 - S; k < 3; k++) fetch(q * stride + k, k);
      const V best = load<W>(y + q * c + i);
      V left = load<W>(dy + q * c + i);
#pragma GCC unroll 9
      for (int tap = 0; tap < 9; tap++) {
        const auto here = x[tap / 3][tap % 3] == best;
        d[tap / 3][tap % 3] += here ? left : V{};
        left = here ? V{} : left;
      }
#pragma GCC unroll 3
      for (int k = 0; k < S; k++) flush(q * stride + k, k);
    }
#pragma GCC unroll 3
    for (int k = S; k < 3; k++) flush((ow - 1) * stride + k, k);
  }
}

template <typename T>
auto* max_row_grad(int64_t c, int64_t stride) {
  return by_width<T>(c, [&](auto width) {
    constexpr int64_t W = decltype(width)::bytes;
    return stride == 1   ? max_row_grad_of<T, 1, W>
           : stride == 2 ? max_row_grad_of<T, 2, W>
                         : max_row_grad_of<T, 3, W>;
  });
}

// out [pixels, C] = in times by_column and by_row, each of its pixels `out_pixel` elements apart.
template <typename T>
void weigh(const T* in, int64_t pixels, int64_t c, T by_row, const T* by_column, T* out, int64_t out_pixel) {
  by_width<T>(c, [&](auto width) {
    constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
    for (int64_t q = 0; q < pixels; q++)
      for (int64_t i = 0; i < c; i += L)
        store(out + q * out_pixel + i, load<W>(in + q * c + i) * fill<W>(by_row * by_column[q]));
  });
}

// 3x3 pooling with padding 1: the maximum, or the mean of what is inside of the image; with the
// moments of the result, [2, C].
std::tuple<Tensor, Tensor> pool_forward(const Tensor& x, bool maximum, int64_t stride) {
  const Image shape = shape_of(x);
  const int64_t h = shape.h, w = shape.w, c = shape.c;
  const int64_t oh = (h - 1) / stride + 1, ow = (w - 1) / stride + 1;
  Tensor y = fresh({shape.n, oh, ow, c}, x);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> total(threads, std::vector<double>(2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    const auto by_row = inverse_counts<T>(h, oh, stride), by_column = inverse_counts<T>(w, ow, stride);
    const Buffer<T> ones(9 * c, T(1));
    const int64_t row = (w + 2) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(3, c, stride);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      const T outside = maximum ? -std::numeric_limits<T>::infinity() : T(0);
      Buffer<T> padded((maximum ? 1 : h + 2) * row, outside), part(2 * c);
      for (int64_t n = begin; n < end; n++) {
        const T* image = xs + n * h * w * c;
        for (int64_t r = 0; r < h && !maximum; r++)
          std::memcpy(&padded[(r + 1) * row + c], image + r * w * c, sizeof(T) * w * c);
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < oh; r++) {
          T* out = ys + (n * oh + r) * ow * c;
          const int64_t top = r * stride - 1;
          if (maximum) {
            max_row<T>(image, std::max<int64_t>(0, top), std::min(h - 1, top + 2), w, c, stride, ow, padded.data(),
                       out);
          } else {
            conv.row(padded.data() + r * stride * row, row, ones.data(), out, ow, c, stride, 1, false);
            weigh<T>(out, ow, c, by_row[r], by_column.data(), out, c);
          }
          sums<T>(ow, c, out, c, out, c, part.data(), part.data() + c);
        }
        add_to(total[at::get_thread_num()].data(), part.data(), 2 * c);
      }
    });
  });
  return {y, moments_of(total, {2, c}, shape.n * oh * ow, x)};
}

// dx += the gradient of x for dy. Of equal maxima the first takes it, as PyTorch has it.
void pool_backward(const Tensor& dy, const Tensor& x, const Tensor& y, bool maximum, int64_t stride,
                   Tensor dx) {
  const Image shape = shape_of(x);
  const int64_t h = shape.h, w = shape.w, c = shape.c, oh = dy.size(1), ow = dy.size(2);
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* ys = maximum ? y.const_data_ptr<T>() : nullptr;
    const T* ds = dy.const_data_ptr<T>();
    T* out = dx.mutable_data_ptr<T>();
    const auto by_row = inverse_counts<T>(h, oh, stride), by_column = inverse_counts<T>(w, ow, stride);
    const Buffer<T> ones(9 * c, T(1));
    const int64_t row = (w + 2) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(3, c, 1);
    const auto max_grad = max_row_grad<T>(c, stride);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded((h + 2) * row, T(0)), grad(maximum ? (h + 2) * row : 0);
      if (maximum) std::fill(padded.begin(), padded.end(), -std::numeric_limits<T>::infinity());
      for (int64_t n = begin; n < end; n++) {
        T* to = out + n * h * w * c;
        if (maximum) {
          std::fill(grad.begin(), grad.end(), T(0));
          for (int64_t r = 0; r < h; r++)
            std::memcpy(&padded[(r + 1) * row + c], xs + (n * h + r) * w * c, sizeof(T) * w * c);
          for (int64_t r = 0; r < oh; r++) {
            const int64_t at = (n * oh + r) * ow * c;
            max_grad(&padded[r * stride * row], row, ys + at, ds + at, &grad[r * stride * row], ow, c, stride);
          }
          by_width<T>(c, [&](auto width) {
            constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
            for (int64_t r = 0; r < h; r++)
              for (int64_t i = r * w * c, j = (r + 1) * row + c; i < (r + 1) * w * c; i += L, j += L)
                store(to + i, load<W>(to + i) + load<W>(&grad[j]));
          });
        } else {
          for (int64_t r = 0; r < oh; r++)
            weigh<T>(ds + (n * oh + r) * ow * c, ow, c, by_row[r], by_column.data(),
                     &padded[(r * stride + 1) * row + c], stride * c);
          for (int64_t r = 0; r < h; r++)
            conv.row(padded.data() + r * row, row, ones.data(), to + r * w * c, w, c, 1, 1, true);
        }
      }
    });
  });
}

}  // namespace
