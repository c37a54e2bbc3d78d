// Separable convolutions: ReLU, depthwise and pointwise convolution in one pass over an image.

#include "tensors.h"

namespace {

// y[e] = pointwise[e](depthwise[e](relu(norm[e](x[e])))) for E edges, with the moments of y
// [E, 2, O]. x is [N, H, W, C], the same for all edges, or [E, N, H, W, C]; the norm before the
// relu, if there is one, is what batch_norm gave.
std::tuple<Tensor, Tensor> separable_forward(const Tensor& x, const optional<Tensor>& norm,
                                             const Tensor& depthwise_, const Tensor& pointwise_,
                                             int64_t stride, int64_t padding, int64_t dilation) {
  const auto scale = scale_of(norm, x), shift = shift_of(norm, x);
  const Tensor depthwise = whole(depthwise_), pointwise = whole(pointwise_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const bool shared = x.dim() == 4;
  const int64_t edges = depthwise.size(0), k = depthwise.size(3), co = pointwise.size(1);
  const int64_t n = x.size(-4), h = x.size(-3), w = x.size(-2), c = x.size(-1);
  const int64_t oh = (h + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
  const int64_t ow = (w + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
  check_channels(c), check_channels(co);
  Tensor y = fresh({edges, n, oh, ow, co}, x);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(edges * 2 * co, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* scales = scale ? scale->const_data_ptr<T>() : nullptr;
    const T* shifts = shift ? shift->const_data_ptr<T>() : nullptr;
    T* ys = y.mutable_data_ptr<T>();
    std::vector<Buffer<T>> taps, points;
    for (int64_t e = 0; e < edges; e++) {
      taps.push_back(transposed(depthwise.const_data_ptr<T>() + e * c * k * k, c, k * k));
      points.push_back(transposed(pointwise.const_data_ptr<T>() + e * co * c, co, c));
    }
    const int64_t row = (w + 2 * padding) * c, block = rows_at_once(ow, std::max(c, co));
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride);
    {
      at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
        Buffer<T> padded((h + 2 * padding) * row, T(0)), features(block * ow * c), part(2 * co);
        double* total = totals[at::get_thread_num()].data();
        for (int64_t i = begin; i < end; i++) {
          for (int64_t e = 0; e < edges; e++) {
            if (!shared || e == 0)
              activate<T>(xs + ((shared ? 0 : e * n) + i) * h * w * c, h, w, c,
                          scales ? scales + e * c : nullptr, shifts ? shifts + e * c : nullptr,
                          padded.data(), padding);
            T* out = ys + (e * n + i) * oh * ow * co;
            std::fill(part.begin(), part.end(), T(0));
            for (int64_t top = 0; top < oh; top += block) {
              const int64_t rows = std::min(block, oh - top), pixels = rows * ow;
              for (int64_t r = 0; r < rows; r++)
                conv.row(padded.data() + (top + r) * stride * row, row, taps[e].data(),
                                    features.data() + r * ow * c, ow, c, stride, dilation, false);
              T* o = out + top * ow * co;
              gemm<T>(pixels, co, c, features.data(), c, points[e].data(), o, co, false);
              sums<T>(pixels, co, o, co, o, co, part.data(), part.data() + co);
            }
            add_to(total + e * 2 * co, part.data(), 2 * co);
          }
        }
      });
    }
  });
  return {y, moments_of(totals, {edges, 2, co}, n * oh * ow, x)};
}

// Backward of separable_forward and the batch norm after it. The gradient of y is
// coefficients[e, 0] g[e] + coefficients[e, 1] y[e] + coefficients[e, 2].
// x shared: the gradient of relu(x), over edges, is put or added into `into` [N, H, W, C]. x per edge:
// returns the gradient of the normalised x, [E, N, H, W, C], and its sums and those of its
// product with x, [E, 2, C]. With `weights` the gradients of both convolutions are returned.
std::tuple<Tensor, Tensor, Tensor, Tensor> separable_backward(
    TensorList g, const Tensor& y, const Tensor& coefficients_, const Tensor& x,
    const optional<Tensor>& norm, const Tensor& depthwise_, const Tensor& pointwise_, int64_t stride,
    int64_t padding, int64_t dilation, const optional<Tensor>& into, bool accumulate, bool weights) {
  const auto scale = scale_of(norm, x), shift = shift_of(norm, x);
  const Tensor depthwise = whole(depthwise_), pointwise = whole(pointwise_);
  const Tensor coefficients = whole_as(coefficients_, x);
  TORCH_CHECK(x.is_contiguous() && y.is_contiguous(), "x and y must be contiguous");
  const bool shared = x.dim() == 4;
  TORCH_CHECK(shared == into.has_value(), "`into` goes with an x that edges share");
  const int64_t edges = depthwise.size(0), k = depthwise.size(3), co = pointwise.size(1);
  const int64_t n = x.size(-4), h = x.size(-3), w = x.size(-2), c = x.size(-1);
  const int64_t oh = y.size(2), ow = y.size(3);
  const int64_t lead = dilation * (k - 1) - padding;
  const int threads = at::get_num_threads();
  check_channels(c), check_channels(co);
  Tensor dx = shared ? *into : fresh({edges, n, h, w, c}, x);
  Tensor d_depthwise = nothing(x), d_pointwise = nothing(x), dx_sums = nothing(x);
  std::vector<std::vector<double>> total_d, total_p, total_s;
  if (weights) {
    total_d.assign(threads, std::vector<double>(edges * k * k * c, 0.0));
    total_p.assign(threads, std::vector<double>(edges * co * c, 0.0));
  }
  if (!shared) total_s.assign(threads, std::vector<double>(edges * 2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    const T* scales = scale ? scale->const_data_ptr<T>() : nullptr;
    const T* shifts = shift ? shift->const_data_ptr<T>() : nullptr;
    const T* points = pointwise.const_data_ptr<T>();
    T* dxs = dx.mutable_data_ptr<T>();
    std::vector<const T*> gs;
    std::vector<int64_t> g_pixel;
    for (const Tensor& one : g) {
      gs.push_back(one.const_data_ptr<T>());
      g_pixel.push_back(shape_of(one).pixel);
    }
    std::vector<Buffer<T>> taps, flipped;
    for (int64_t e = 0; e < edges; e++) {
      const T* d = depthwise.const_data_ptr<T>() + e * c * k * k;
      taps.push_back(transposed(d, c, k * k));
      flipped.push_back(transposed(d, c, k * k, true));
    }
    const int64_t row = (w + 2 * padding) * c, block = rows_at_once(ow, std::max(c, co));
    // The features' gradient, zeros between its pixels where the stride is 2, and around.
    const int64_t u_w = w + dilation * (k - 1), u_h = h + dilation * (k - 1), u_row = u_w * c;
    const bool activation = weights || !shared;
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride), back = depthwise_kernels<T>(k, c, 1);
    {
      at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
        Buffer<T> padded(activation ? (h + 2 * padding) * row : 0, T(0));
        Buffer<T> u(u_h * u_row, T(0)), dy(block * ow * co), features(block * ow * c);
        Buffer<T> part_d(weights ? k * k * c : 0), part_p(weights ? co * c : 0), part_s(2 * c);
        const int me = at::get_thread_num();
        for (int64_t i = begin; i < end; i++) {
          for (int64_t e = 0; e < edges; e++) {
            if (activation && (!shared || e == 0))
              activate<T>(xs + ((shared ? 0 : e * n) + i) * h * w * c, h, w, c,
                          scales ? scales + e * c : nullptr, shifts ? shifts + e * c : nullptr,
                          padded.data(), padding);
            const T* ge = gs[e] + i * oh * ow * g_pixel[e];
            const T* ye = ys + (e * n + i) * oh * ow * co;
            const T* ce = coef + e * 3 * co;
            std::fill(part_p.begin(), part_p.end(), T(0));
            for (int64_t top = 0; top < oh; top += block) {
              const int64_t rows = std::min(block, oh - top), pixels = rows * ow;
              for (int64_t p = 0; p < pixels; p++) {
                const int64_t at = top * ow + p;
                for (int64_t j = 0; j < co; j += L)
                  store(&dy[p * co + j], load(ce + j) * load(ge + at * g_pixel[e] + j) +
                                             load(ce + co + j) * load(ye + at * co + j) +
                                             load(ce + 2 * co + j));
              }
              for (int64_t r = 0; r < rows; r++) {
                if (weights)
                  conv.row(padded.data() + (top + r) * stride * row, row, taps[e].data(),
                                      features.data() + r * ow * c, ow, c, stride, dilation, false);
                gemm<T>(ow, c, co, dy.data() + r * ow * co, co, points + e * co * c,
                        u.data() + ((top + r) * stride + lead) * u_row + lead * c, stride * c, false);
              }
              if (weights) gram<T>(pixels, dy.data(), co, co, features.data(), c, c, part_p.data());
            }
            if (weights) {
              std::fill(part_d.begin(), part_d.end(), T(0));
              conv.weight_grad(padded.data(), row, u.data() + lead * u_row + lead * c, stride * u_row, oh,
                               ow, c, stride, dilation, part_d.data());
              add_to(total_d[me].data() + e * k * k * c, part_d.data(), k * k * c);
              add_to(total_p[me].data() + e * co * c, part_p.data(), co * c);
            }
            T* to = dxs + ((shared ? 0 : e * n) + i) * h * w * c;
            std::fill(part_s.begin(), part_s.end(), T(0));
            for (int64_t r = 0; r < h; r++) {
              T* out = to + r * w * c;
              back.row(u.data() + r * u_row, u_row, flipped[e].data(), out, w, c, 1, dilation,
                                  shared && (accumulate || e > 0));
              if (shared) continue;
              const T* act = padded.data() + (r + padding) * row + padding * c;
              for (int64_t j = 0; j < w * c; j += L) {
                const Vec<T> v = load(act + j);
                store(out + j, v <= Vec<T>{} ? Vec<T>{} : load(out + j));
              }
              const T* from = xs + (e * n + i) * h * w * c + r * w * c;
              sums<T>(w, c, out, c, from, c, part_s.data(), part_s.data() + c);
            }
            if (!shared) add_to(total_s[me].data() + e * 2 * c, part_s.data(), 2 * c);
          }
        }
      });
    }
  });
  if (weights) {
    d_depthwise = reduced(total_d, {edges, k, k, c}, x)
                      .permute({0, 3, 1, 2})
                      .unsqueeze(2)
                      .contiguous();
    d_pointwise = reduced(total_p, {edges, co, c, 1, 1}, x);
  }
  if (!shared) dx_sums = reduced(total_s, {edges, 2, c}, x, true);
  return {shared ? nothing(x) : dx, dx_sums, d_depthwise, d_pointwise};
}

}  // namespace
