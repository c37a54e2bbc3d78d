// What a cell does to its inputs first: ReLU and 1x1 convolutions.

#include "tensors.h"

namespace {

// 1x1 convolutions of the concatenated relu(x[i]), of which no concatenation is made. Branch k has
// the channels from offset[k] on and reads from pixel (k, k) on, with zeros beyond the image: one
// branch of stride 1, or the two of stride 2 of a factorised reduction.
struct Pointwise {
  int64_t n, h, w, stride, oh, ow, channels = 0, outputs = 0, widest = 0;
  std::vector<int64_t> from;           // first channel of each input
  std::vector<int64_t> offset, count;  // first channel and channels of each branch

  Pointwise(TensorList xs, TensorList weights, int64_t s) : stride(s) {
    TORCH_CHECK(s == 1 ? weights.size() == 1 : s == 2, "stride must be 1 with one weight, or 2");
    const Image shape = shape_of(xs[0]);
    n = shape.n, h = shape.h, w = shape.w;
    oh = (h + s - 1) / s, ow = (w + s - 1) / s;
    for (const Tensor& x : xs) {
      from.push_back(channels);
      channels += x.size(3);
      widest = std::max(widest, x.size(3));
    }
    for (const Tensor& weight : weights) {
      TORCH_CHECK(weight.size(1) == channels, "weights must be [O, C, 1, 1] of all inputs' channels C");
      offset.push_back(outputs);
      count.push_back(weight.size(0));
      check_channels(weight.size(0));
      outputs += weight.size(0);
    }
    if (s == 1) {  // rows do not matter
      w = ow = h * w;
      h = oh = 1;
    }
  }

  // Output pixels from `left` of row r that branch k finds inside of the image.
  int64_t inside(int64_t r, int64_t k, int64_t left, int64_t pixels) const {
    if (r * stride + k >= h) return 0;
    return std::clamp<int64_t>((w - k + stride - 1) / stride - left, 0, pixels);
  }

  // The input pixel that output pixel (r, q) of image i reads in branch k.
  int64_t place(int64_t i, int64_t r, int64_t q, int64_t k) const {
    return (i * h + r * stride + k) * w + q * stride + k;
  }
};

template <typename T>
struct Inputs {
  std::vector<const T*> data;
  std::vector<int64_t> channels, pixel;
  explicit Inputs(TensorList xs) {
    for (const Tensor& x : xs) {
      data.push_back(x.const_data_ptr<T>());
      channels.push_back(x.size(3));
      pixel.push_back(shape_of(x).pixel);
    }
  }
  // relu of `pixels` pixels of input i, `stride` apart, from `first` on.
  void gather(size_t i, int64_t first, int64_t pixels, int64_t stride, T* to) const {
    const T* at = data[i] + first * pixel[i];
    by_width<T>(channels[i], [&](auto width) {
      constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
      for (int64_t c = 0; c < channels[i]; c += L)
        for (int64_t p = 0; p < pixels; p++)
          store(to + p * channels[i] + c, relu<T>(load<W>(at + p * stride * pixel[i] + c)));
    });
  }
};

// y [N, h, w, O] and its moments [2, O].
std::tuple<Tensor, Tensor> pointwise_forward(TensorList xs, TensorList weights, int64_t stride) {
  const Pointwise plan(xs, weights, stride);
  const int64_t o = plan.outputs, inputs = xs.size(), branches = weights.size();
  const int64_t h = (xs[0].size(1) + stride - 1) / stride, w = (xs[0].size(2) + stride - 1) / stride;
  Tensor y = fresh({plan.n, h, w, o}, xs[0]);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(2 * o, 0.0));
  over_real(xs[0], [&](auto real) {
    using T = decltype(real);
    const Inputs<T> in(xs);
    T* ys = y.mutable_data_ptr<T>();
    std::vector<Buffer<T>> points;  // [C_i, O_k] of each branch and input
    for (int64_t k = 0; k < branches; k++) {
      const Tensor weight = whole(weights[k]);
      const T* from = weight.const_data_ptr<T>();
      for (int64_t i = 0; i < inputs; i++) {
        points.emplace_back(in.channels[i] * plan.count[k]);
        for (int64_t c = 0; c < in.channels[i]; c++)
          for (int64_t j = 0; j < plan.count[k]; j++)
            points.back()[c * plan.count[k] + j] = from[j * plan.channels + plan.from[i] + c];
      }
    }
    const int64_t block = block_of(std::max(plan.widest, o));
    at::parallel_for(0, plan.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(block * plan.widest), part(2 * o);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < plan.oh; r++)
          for (int64_t left = 0; left < plan.ow; left += block) {
            const int64_t pixels = std::min(block, plan.ow - left);
            T* out = ys + ((n * plan.oh + r) * plan.ow + left) * o;
            for (int64_t k = 0; k < branches; k++) {
              const int64_t inside = plan.inside(r, k, left, pixels);
              T* to = out + plan.offset[k];
              for (int64_t p = inside; p < pixels; p++) std::fill_n(to + p * o, plan.count[k], T(0));
              if (inside == 0) continue;
              for (int64_t i = 0; i < inputs; i++) {
                in.gather(i, plan.place(n, r, left, k), inside, stride, active.data());
                gemm<T>(inside, plan.count[k], in.channels[i], active.data(), in.channels[i],
                        points[k * inputs + i].data(), to, o, i > 0);
              }
            }
            sums<T>(pixels, o, out, o, out, o, part.data(), part.data() + o);
          }
        add_to(totals[at::get_thread_num()].data(), part.data(), 2 * o);
      }
    });
  });
  return {y, moments_of(totals, {2, o}, plan.n * plan.oh * plan.ow, xs[0])};
}

// Backward of pointwise_forward and the batch norm after it; `coefficients` is [3, O], see
// separable_backward. The gradients of `images` and `weights`, each only where wanted.
std::tuple<std::vector<Tensor>, std::vector<Tensor>> pointwise_backward(
    const Tensor& g, const Tensor& y, const Tensor& coefficients_, TensorList xs, TensorList weights,
    int64_t stride, bool want_images, bool want_weights) {
  const Tensor coefficients = whole(coefficients_);
  TORCH_CHECK(y.is_contiguous(), "y must be contiguous");
  const Pointwise plan(xs, weights, stride);
  const int64_t o = plan.outputs, inputs = xs.size(), branches = weights.size();
  const int threads = at::get_num_threads();
  const int64_t size = o * plan.channels;
  std::vector<std::vector<double>> totals(threads, std::vector<double>(want_weights ? size : 0, 0.0));
  std::vector<Tensor> dxs, dws;
  if (want_images)
    for (const Tensor& x : xs) dxs.push_back(fresh(x.sizes(), x));
  over_real(xs[0], [&](auto real) {
    using T = decltype(real);
    const Inputs<T> in(xs);
    const T* gs = g.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    const int64_t g_pixel = shape_of(g).pixel;
    std::vector<T*> to;
    for (Tensor& dx : dxs) to.push_back(dx.mutable_data_ptr<T>());
    std::vector<Buffer<T>> points;  // [O_k, C_i] of each branch and input
    for (int64_t k = 0; k < branches; k++) {
      const Tensor weight = whole(weights[k]);
      const T* from = weight.const_data_ptr<T>();
      for (int64_t i = 0; i < inputs; i++) {
        points.emplace_back(in.channels[i] * plan.count[k]);
        for (int64_t j = 0; j < plan.count[k]; j++)
          std::copy_n(from + j * plan.channels + plan.from[i], in.channels[i],
                      &points.back()[j * in.channels[i]]);
      }
    }
    const int64_t block = block_of(std::max(plan.widest, o));
    at::parallel_for(0, plan.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(block * plan.widest), dy(block * o), part(want_weights ? size : 0);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part.begin(), part.end(), T(0));
        if (stride > 1)  // pixels that no branch reads
          for (size_t i = 0; i < to.size(); i++) {
            const int64_t all = plan.h * plan.w * in.channels[i];
            std::fill_n(to[i] + n * all, all, T(0));
          }
        for (int64_t r = 0; r < plan.oh; r++)
          for (int64_t left = 0; left < plan.ow; left += block) {
            const int64_t pixels = std::min(block, plan.ow - left);
            const int64_t first = (n * plan.oh + r) * plan.ow + left;
            for (int64_t k = 0; k < branches; k++) {
              const int64_t inside = plan.inside(r, k, left, pixels), outputs = plan.count[k];
              if (inside == 0) continue;
              const int64_t at = plan.offset[k];
              norm_grad<T>(inside, outputs, coef + at, o, gs + first * g_pixel + at, g_pixel, ys + first * o + at,
                           o, dy.data(), outputs);
              const int64_t place = plan.place(n, r, left, k);
              T* grad = part.data() + plan.offset[k] * plan.channels;
              for (int64_t i = 0; i < inputs; i++) {
                const int64_t c = in.channels[i];
                if (want_weights) {
                  in.gather(i, place, inside, stride, active.data());
                  gram<T>(inside, dy.data(), outputs, outputs, active.data(), c, c,
                          grad + outputs * plan.from[i]);
                }
                if (!want_images) continue;
                T* out = to[i] + place * c;
                gemm<T>(inside, c, outputs, dy.data(), outputs, points[k * inputs + i].data(), out,
                        stride * c, false);
                const T* x = in.data[i] + place * in.pixel[i];
                by_width<T>(c, [&](auto width) {
                  constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
                  for (int64_t j = 0; j < c; j += L)
                    for (int64_t p = 0; p < inside; p++) {
                      T* at = out + p * stride * c + j;
                      const auto v = load<W>(x + p * stride * in.pixel[i] + j);
                      store(at, v <= Vec<T, W>{} ? Vec<T, W>{} : load<W>(at));
                    }
                });
              }
            }
          }
        if (want_weights) add_to(totals[at::get_thread_num()].data(), part.data(), size);
      }
    });
  });
  if (want_weights) {  // of each branch [O_k, C_i] of all inputs
    const Tensor all = reduced(totals, {size}, xs[0]);
    int64_t start = 0;
    for (int64_t k = 0; k < branches; k++) {
      std::vector<Tensor> parts;
      for (const Tensor& x : xs) {
        const int64_t length = plan.count[k] * x.size(3);
        parts.push_back(all.narrow(0, start, length).view({plan.count[k], x.size(3), 1, 1}));
        start += length;
      }
      dws.push_back(at::cat(parts, 1));
    }
  }
  return {dxs, dws};
}

}  // namespace
