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
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    const auto by_row = inverse_counts<T>(h, oh, stride), by_column = inverse_counts<T>(w, ow, stride);
    const Buffer<T> ones(9 * c, T(1));
    const int64_t row = (w + 2) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(3, c, stride);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      const T outside = maximum ? -std::numeric_limits<T>::infinity() : T(0);
      Buffer<T> padded((h + 2) * row, outside), part(2 * c);
      for (int64_t n = begin; n < end; n++) {
        for (int64_t r = 0; r < h; r++)
          std::memcpy(&padded[(r + 1) * row + c], xs + (n * h + r) * w * c, sizeof(T) * w * c);
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < oh; r++) {
          T* out = ys + (n * oh + r) * ow * c;
          const T* in = padded.data() + r * stride * row;
          if (maximum) {
            for (int64_t q = 0; q < ow; q++)
              for (int64_t i = 0; i < c; i += L) {
                const T* at = in + q * stride * c + i;
                Vec<T> best = load(at);
#pragma GCC unroll 9
                for (int tap = 1; tap < 9; tap++) {
                  const Vec<T> v = load(at + tap / 3 * row + tap % 3 * c);
                  best = ((v > best) | (v != v)) ? v : best;
                }
                store(out + q * c + i, best);
              }
          } else {
            conv.row(in, row, ones.data(), out, ow, c, stride, 1, false);
            for (int64_t q = 0; q < ow; q++)
              for (int64_t i = 0; i < c; i += L)
                store(out + q * c + i, load(out + q * c + i) * fill(by_row[r] * by_column[q]));
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
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const T* ys = maximum ? y.const_data_ptr<T>() : nullptr;
    const T* ds = dy.const_data_ptr<T>();
    T* out = dx.mutable_data_ptr<T>();
    const auto by_row = inverse_counts<T>(h, oh, stride), by_column = inverse_counts<T>(w, ow, stride);
    const Buffer<T> ones(9 * c, T(1));
    const int64_t row = (w + 2) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(3, c, 1);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded((h + 2) * row, T(0)), grad(maximum ? (h + 2) * row : 0);
      if (maximum) std::fill(padded.begin(), padded.end(), -std::numeric_limits<T>::infinity());
      for (int64_t n = begin; n < end; n++) {
        if (maximum) {
          std::fill(grad.begin(), grad.end(), T(0));
          for (int64_t r = 0; r < h; r++)
            std::memcpy(&padded[(r + 1) * row + c], xs + (n * h + r) * w * c, sizeof(T) * w * c);
          for (int64_t r = 0; r < oh; r++)
            for (int64_t q = 0; q < ow; q++) {
              const int64_t at = ((n * oh + r) * ow + q) * c, in = r * stride * row + q * stride * c;
              for (int64_t i = 0; i < c; i += L) {
                const Vec<T> best = load(ys + at + i);
                Vec<T> left = load(ds + at + i);
#pragma GCC unroll 9
                for (int tap = 0; tap < 9; tap++) {
                  const int64_t place = in + tap / 3 * row + tap % 3 * c + i;
                  const auto here = load(&padded[place]) == best;
                  store(&grad[place], load(&grad[place]) + (here ? left : Vec<T>{}));
                  left = here ? Vec<T>{} : left;
                }
              }
            }
          for (int64_t r = 0; r < h; r++) {
            T* to = out + (n * h + r) * w * c;
            for (int64_t i = 0; i < w * c; i += L)
              store(to + i, load(to + i) + load(&grad[(r + 1) * row + c + i]));
          }
        } else {
          for (int64_t r = 0; r < oh; r++)
            for (int64_t q = 0; q < ow; q++)
              for (int64_t i = 0; i < c; i += L)
                store(&padded[(r * stride + 1) * row + (q * stride + 1) * c + i],
                      load(ds + ((n * oh + r) * ow + q) * c + i) * fill(by_row[r] * by_column[q]));
          for (int64_t r = 0; r < h; r++)
            conv.row(padded.data() + r * row, row, ones.data(), out + (n * h + r) * w * c, w, c,
                                1, 1, true);
        }
      }
    });
  });
}

}  // namespace
