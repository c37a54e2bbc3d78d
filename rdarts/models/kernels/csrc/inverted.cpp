// Inverted bottlenecks: relu6 and the depthwise convolution after it.

#include "tensors.h"

namespace {

// d = 0 where relu6(scale * x + shift) is constant, and the sums over pixels of d and of d x.
template <typename T>
void through_relu6(T* d, const T* x, const T* scale, const T* shift, int64_t pixels, int64_t c, T* part) {
  constexpr int64_t L = Lanes<T>::count;
  const Vec<T> six = fill(T(6));
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t i = p * c, j = 0; j < c; i += L, j += L) {
      const Vec<T> v = load(x + i) * load(scale + j) + load(shift + j);
      store(d + i, (v <= Vec<T>{}) | (v >= six) ? Vec<T>{} : load(d + i));
    }
  sums<T>(pixels, c, d, c, x, c, part, part + c);
}

// relu6(scale * x + shift), for x [N, H, W, C].
Tensor relu6_forward(const Tensor& x, const Tensor& scale_, const Tensor& shift_) {
  const Tensor scale = whole(scale_), shift = whole(shift_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const int64_t c = x.size(3), pixels = x.numel() / c;
  check_channels(c);
  Tensor y = fresh(x.sizes(), x);
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    at::parallel_for(0, pixels, 8 * block_of(c), [&](int64_t begin, int64_t end) {
      activate<T, true>(xs + begin * c, 1, end - begin, c, a, b, ys + begin * c, 0);
    });
  });
  return y;
}

// Backward of relu6_forward: takes the gradient d of its result to that of scale * x + shift, and
// sums over pixels what it becomes, and it times x: [2, C] in float64.
Tensor relu6_backward(Tensor d, const Tensor& x, const Tensor& scale_, const Tensor& shift_) {
  const Tensor scale = whole(scale_), shift = whole(shift_);
  TORCH_CHECK(x.is_contiguous() && d.is_contiguous(), "x and d must be contiguous");
  const int64_t n = x.size(0), size = x.size(1) * x.size(2), c = x.size(3), block = block_of(c);
  check_channels(c);
  std::vector<std::vector<double>> total(at::get_num_threads(), std::vector<double>(2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* ds = d.mutable_data_ptr<T>();
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> part(2 * c);
      for (int64_t i = begin; i < end; i++) {
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t top = 0; top < size; top += block) {
          const int64_t first = (i * size + top) * c;
          through_relu6<T>(ds + first, xs + first, a, b, std::min(block, size - top), c, part.data());
        }
        add_to(total[at::get_thread_num()].data(), part.data(), 2 * c);
      }
    });
  });
  return reduced(total, {2, c}, x, true);
}

// The depthwise convolution of relu6(scale * x + shift), and its moments [2, C].
std::tuple<Tensor, Tensor> depthwise_forward(const Tensor& x, const Tensor& scale_, const Tensor& shift_,
                                             const Tensor& weight_, int64_t stride, int64_t padding) {
  const Tensor scale = whole(scale_), shift = whole(shift_), weight = whole(weight_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3), k = weight.size(3);
  const int64_t oh = (h + 2 * padding - k) / stride + 1, ow = (w + 2 * padding - k) / stride + 1;
  check_channels(c);
  Tensor y = fresh({n, oh, ow, c}, x);
  std::vector<std::vector<double>> total(at::get_num_threads(), std::vector<double>(2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    const Buffer<T> taps = transposed(weight.const_data_ptr<T>(), c, k * k);
    const int64_t row = (w + 2 * padding) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded((h + 2 * padding) * row, T(0)), part(2 * c);
      for (int64_t i = begin; i < end; i++) {
        activate<T, true>(xs + i * h * w * c, h, w, c, a, b, padded.data(), padding);
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < oh; r++) {
          T* out = ys + (i * oh + r) * ow * c;
          conv.row(padded.data() + r * stride * row, row, taps.data(), out, ow, c, stride, 1, false);
          sums<T>(ow, c, out, c, out, c, part.data(), part.data() + c);
        }
        add_to(total[at::get_thread_num()].data(), part.data(), 2 * c);
      }
    });
  });
  return {y, moments_of(total, {2, c}, n * oh * ow, x)};
}

// Backward of depthwise_forward and the batch norm after it, which makes a g + b y + c of its
// gradient g, for `coefficients` [3, C]: the gradient of scale * x + shift; the sums over pixels
// of it, and of it times x, [2, C] in float64; the weight's gradient.
std::tuple<Tensor, Tensor, Tensor> depthwise_backward(const Tensor& g, const Tensor& y,
                                                      const Tensor& coefficients_, const Tensor& x,
                                                      const Tensor& scale_, const Tensor& shift_,
                                                      const Tensor& weight_, int64_t stride, int64_t padding,
                                                      bool weights) {
  const Tensor scale = whole(scale_), shift = whole(shift_), weight = whole(weight_);
  const Tensor coefficients = whole(coefficients_);
  TORCH_CHECK(x.is_contiguous() && g.is_contiguous() && y.is_contiguous(), "x, g and y must be contiguous");
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3), k = weight.size(3);
  const int64_t oh = g.size(1), ow = g.size(2), lead = k - 1 - padding, threads = at::get_num_threads();
  check_channels(c);
  Tensor dx = fresh({n, h, w, c}, x), dw = nothing(x);
  std::vector<std::vector<double>> total(threads, std::vector<double>(2 * c, 0.0)), total_w;
  if (weights) total_w.assign(threads, std::vector<double>(k * k * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const T* gs = g.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* dxs = dx.mutable_data_ptr<T>();
    const Buffer<T> flipped = transposed(weight.const_data_ptr<T>(), c, k * k, true);
    const int64_t row = (w + 2 * padding) * c, u_w = w + k - 1, u_h = h + k - 1, u_row = u_w * c;
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride), back = depthwise_kernels<T>(k, c, 1);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded(weights ? (h + 2 * padding) * row : 0, T(0)), part_w(weights ? k * k * c : 0);
      Buffer<T> part(2 * c);
      Buffer<T> u(u_h * u_row, T(0));  // with zeros between the pixels where the stride is 2
      const int me = at::get_thread_num();
      for (int64_t i = begin; i < end; i++) {
        for (int64_t r = 0; r < oh; r++)
          for (int64_t p = 0; p < ow; p++) {
            const int64_t from = ((i * oh + r) * ow + p) * c;
            T* to = u.data() + (r * stride + lead) * u_row + (p * stride + lead) * c;
            for (int64_t j = 0; j < c; j += L)
              store(to + j, load(coef + j) * load(gs + from + j) + load(coef + c + j) * load(ys + from + j) +
                                load(coef + 2 * c + j));
          }
        if (weights) {
          activate<T, true>(xs + i * h * w * c, h, w, c, a, b, padded.data(), padding);
          std::fill(part_w.begin(), part_w.end(), T(0));
          conv.weight_grad(padded.data(), row, u.data() + lead * u_row + lead * c, stride * u_row, oh, ow, c,
                           stride, 1, part_w.data());
          add_to(total_w[me].data(), part_w.data(), k * k * c);
        }
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < h; r++) {
          T* out = dxs + (i * h + r) * w * c;
          back.row(u.data() + r * u_row, u_row, flipped.data(), out, w, c, 1, 1, false);
          through_relu6<T>(out, xs + (i * h + r) * w * c, a, b, w, c, part.data());
        }
        add_to(total[me].data(), part.data(), 2 * c);
      }
    });
  });
  if (weights) dw = reduced(total_w, {k, k, c}, x).permute({2, 0, 1}).unsqueeze(1).contiguous();
  return {dx, reduced(total, {2, c}, x, true), dw};
}

}  // namespace
