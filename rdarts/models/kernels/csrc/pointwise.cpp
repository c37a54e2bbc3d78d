// What a cell does to its inputs first: ReLU and 1x1 convolutions.

#include "block_tensors.h"
#include "folded.h"

namespace {

// 1x1 convolutions of the concatenated relu(x[i]), of which no concatenation is made. Branch k has
// the channels from offset[k] on and reads from pixel (k, k) on, with zeros beyond the image: one
// branch of stride 1, or the two of stride 2 of a factorised reduction.
struct Pointwise {
  static constexpr int64_t block = 32;  // pixels at once: their channels stay in the second cache

  int64_t n, h, w, stride, oh, ow, y_h, y_w, channels = 0, own_channels = 0, outputs = 0;
  std::vector<int64_t> own;            // channels of each input that weights have
  std::vector<int64_t> offset, count;  // first channel and channels of each branch
  std::vector<int64_t> first, width;   // the same in whole vectors, which reach into other branches'

  // With `real` the weights are those of the first so many channels of each input, and zeros are behind
  // their outputs until these are `most`.
  Pointwise(TensorList xs, TensorList weights, int64_t s, int64_t real = 0, int64_t most = 0) : stride(s) {
    TORCH_CHECK(s == 1 ? weights.size() == 1 : s == 2 && weights.size() <= 2,
                "stride must be 1 with one weight, or 2");
    const Image shape = shape_of(xs[0]);
    n = shape.n, h = shape.h, w = shape.w;
    oh = y_h = (h + s - 1) / s, ow = y_w = (w + s - 1) / s;
    for (const Tensor& x : xs) {
      channels += x.size(3);
      TORCH_CHECK(real <= x.size(3), "an input has fewer channels than its weights");
      own.push_back(real ? real : x.size(3));
      own_channels += own.back();
    }
    for (const Tensor& weight : weights) {
      TORCH_CHECK(weight.size(1) == own_channels, "weights must be [O, C, 1, 1] of all inputs' channels C");
      offset.push_back(outputs);
      count.push_back(weight.size(0));
      first.push_back(outputs / kLanes * kLanes);
      outputs += weight.size(0);
      width.push_back((outputs + kLanes - 1) / kLanes * kLanes - first.back());
    }
    if (real) {
      TORCH_CHECK(most >= outputs, "the result has fewer channels than its weights");
      outputs = most;
    }
    check_channels(outputs);
    if (s == 1) {  // rows do not matter
      w = ow = h * w;
      h = oh = 1;
    }
  }

  int64_t branches() const { return count.size(); }

  // Output pixels from `left` of row r that branch k finds inside of the image.
  int64_t inside(int64_t r, int64_t k, int64_t left, int64_t pixels) const {
    if (r * stride + k >= h) return 0;
    return std::clamp<int64_t>((w - k + stride - 1) / stride - left, 0, pixels);
  }

  // The input pixel that output pixel (r, q) of image i reads in branch k.
  int64_t place(int64_t i, int64_t r, int64_t q, int64_t k) const {
    return (i * h + r * stride + k) * w + q * stride + k;
  }

  // The weights of each branch as [width, C], zeros around its own.
  template <typename T>
  std::vector<Buffer<T>> points(TensorList weights) const {
    std::vector<Buffer<T>> result;
    for (int64_t k = 0; k < branches(); k++) {
      const Tensor weight = whole(weights[k]);
      result.emplace_back(width[k] * channels, T(0));
      std::copy_n(weight.const_data_ptr<T>(), count[k] * channels,
                  &result.back()[(offset[k] - first[k]) * channels]);
    }
    return result;
  }

  // The same as [C, width].
  template <typename T>
  std::vector<Buffer<T>> points_across(TensorList xs, TensorList weights) const {
    std::vector<Buffer<T>> result;
    for (int64_t k = 0; k < branches(); k++) {
      const Tensor weight = whole(weights[k]);
      const T* from = weight.const_data_ptr<T>();
      result.emplace_back(width[k] * channels, T(0));
      T* to = &result.back()[offset[k] - first[k]];
      for (size_t input = 0; input < own.size(); input++) {
        for (int64_t j = 0; j < count[k]; j += kLanes)  // a few rows at once: each is read in order
          for (int64_t c = 0; c < own[input]; c++)
            for (int64_t i = j; i < std::min(j + kLanes, count[k]); i++)
              to[c * width[k] + i] = from[i * own_channels + c];
        from += own[input];
        to += xs[input].size(3) * width[k];
      }
    }
    return result;
  }
};

// The inputs as one image of all channels.
template <typename T>
struct Inputs {
  std::vector<const T*> data;
  std::vector<int64_t> channels, pixel, from;
  int64_t all = 0;
  explicit Inputs(TensorList xs) {
    for (const Tensor& x : xs) {
      data.push_back(x.const_data_ptr<T>());
      channels.push_back(x.size(3));
      pixel.push_back(shape_of(x).pixel);
      from.push_back(all);
      all += x.size(3);
    }
  }
  // relu of `pixels` pixels, `stride` apart, from `first` on. As many again are fetched on the way.
  void gather(int64_t first, int64_t pixels, int64_t stride, T* to) const {
    for (size_t i = 0; i < data.size(); i++) {
      const T* at = data[i] + first * pixel[i];
      const int64_t step = stride * pixel[i], ahead = pixels * step;
      by_width<T>(channels[i], [&](auto width) {
        constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
        T* out = to + from[i];
        for (int64_t p = 0; p < pixels; p++, at += step, out += all)
          for (int64_t c = 0; c < channels[i]; c += L) {
            __builtin_prefetch(at + ahead + c, 0, 2);
            store(out + c, relu<T>(load<W>(at + c)));
          }
      });
    }
  }
  // Puts the gradient of what `gather` gave where that came from, 0 where the ReLU was.
  void scatter(const T* grad, const T* active, int64_t first, int64_t pixels, int64_t stride,
               const std::vector<T*>& to) const {
    for (size_t i = 0; i < data.size(); i++) {
      T* out = to[i] + first * channels[i];
      const int64_t step = stride * channels[i];
      by_width<T>(channels[i], [&](auto width) {
        constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
        const T *g = grad + from[i], *a = active + from[i];
        for (int64_t p = 0; p < pixels; p++, out += step, g += all, a += all)
          for (int64_t c = 0; c < channels[i]; c += L)
            store(out + c, load<W>(a + c) <= Vec<T, W>{} ? Vec<T, W>{} : load<W>(g + c));
      });
    }
  }
};

// Of each thread, in float64.
template <typename T>
std::vector<std::vector<double>> spilled(ByThread<T>& sums) {
  std::vector<std::vector<double>> result;
  for (auto& one : sums.all)
    if (one) {
      one->spill();
      result.push_back(std::move(one->total));
    }
  return result;
}

// y [N, h, w, O] by `points`, [C, width] of each branch: normalised where there is a norm, else with the
// sums over pixels of y and y^2 added to `totals`.
template <typename T>
void pointwise_run(const Pointwise& plan, TensorList xs, const std::vector<Buffer<T>>& points,
                   const Folded<T>* norm, Tensor& y, ByThread<T>& totals) {
  const int64_t o = plan.outputs, depth = plan.channels;
  const Inputs<T> in(xs);
  const bool add = plan.branches() > 1 || plan.width[0] < o;  // to zeros, which also stay behind
  T* ys = y.mutable_data_ptr<T>();
  at::parallel_for(0, plan.n, 1, [&](int64_t begin, int64_t end) {
    Buffer<T> active(plan.block * depth);
    Totals<T>& total = totals.mine();
    for (int64_t n = begin; n < end; n++)
      for (int64_t r = 0; r < plan.oh; r++)
        for (int64_t left = 0; left < plan.ow; left += plan.block) {
          const int64_t pixels = std::min(plan.block, plan.ow - left);
          T* out = ys + ((n * plan.oh + r) * plan.ow + left) * o;
          if (add) std::fill_n(out, pixels * o, T(0));
          for (int64_t k = 0; k < plan.branches(); k++) {
            const int64_t inside = plan.inside(r, k, left, pixels);
            in.gather(plan.place(n, r, left, k), inside, plan.stride, active.data());
            gemm<T>(inside, plan.width[k], depth, active.data(), depth, points[k].data(), out + plan.first[k], o,
                    add);
          }
          if (norm) {
            norm->put(out, pixels, out, false);
            continue;
          }
          sums<T>(pixels, o, out, o, out, o, total.part.data(), total.part.data() + o);
          total.added(pixels);
          total.spill();  // a variance is a small difference of large sums
        }
  });
}

// y [N, h, w, O] and its moments [2, O].
std::tuple<Tensor, Tensor> pointwise_forward(TensorList xs, TensorList weights, int64_t stride) {
  const Pointwise plan(xs, weights, stride);
  Tensor y = fresh({plan.n, plan.y_h, plan.y_w, plan.outputs}, xs[0]), moments;
  over_real(xs[0], [&](auto real) {
    using T = decltype(real);
    ByThread<T> totals(2 * plan.outputs);
    pointwise_run<T>(plan, xs, plan.points_across<T>(xs, weights), nullptr, y, totals);
    moments = moments_of(spilled(totals), {2, plan.outputs}, plan.n * plan.oh * plan.ow, xs[0]);
  });
  return {y, moments};
}

// The same with the batch norm after it, by its running statistics: `norm` is weight, bias, mean and
// variance, [O] each. Weights are those of the first `real` channels of each input, what is behind them
// is zeros; and zeros are put behind the O channels of the result, until these are `outputs`.
Tensor pointwise_folded(TensorList xs, TensorList weights, TensorList norm, double eps, int64_t stride,
                        int64_t real, int64_t outputs) {
  const Pointwise plan(xs, weights, stride, real, outputs);
  Tensor y = fresh({plan.n, plan.y_h, plan.y_w, plan.outputs}, xs[0]);
  over_real(xs[0], [&](auto number) {
    using T = decltype(number);
    const Folded<T> folded(norm, eps, plan.offset.back() + plan.count.back(), plan.outputs);
    ByThread<T> totals(0);
    pointwise_run<T>(plan, xs, plan.points_across<T>(xs, weights), &folded, y, totals);
  });
  return y;
}

// Backward of pointwise_forward and the batch norm after it; `coefficients` is [3, O], see
// separable_backward. The gradients of `images` and `weights`, each only where wanted.
std::tuple<std::vector<Tensor>, std::vector<Tensor>> pointwise_backward(
    const Tensor& g, const Tensor& y, const Tensor& coefficients_, TensorList xs, TensorList weights,
    int64_t stride, bool want_images, bool want_weights) {
  const Tensor coefficients = whole(coefficients_);
  TORCH_CHECK(y.is_contiguous(), "y must be contiguous");
  const Pointwise plan(xs, weights, stride);
  const int64_t o = plan.outputs, depth = plan.channels;
  std::vector<int64_t> start;  // of each branch's weights among all
  int64_t size = 0;
  for (int64_t width : plan.width) start.push_back(size), size += width * depth;
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
    std::vector<Buffer<T>> points;
    if (want_images) points = plan.points<T>(weights);
    ByThread<T> totals(want_weights ? size : 0);
    at::parallel_for(0, plan.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(plan.block * depth), grad(want_images ? plan.block * depth : 0), dy(plan.block * o);
      Totals<T>& total = totals.mine();
      for (int64_t n = begin; n < end; n++) {
        if (stride > 1)  // pixels that no branch reads
          for (size_t i = 0; i < to.size(); i++) {
            const int64_t all = plan.h * plan.w * in.channels[i];
            std::fill_n(to[i] + n * all, all, T(0));
          }
        for (int64_t r = 0; r < plan.oh; r++)
          for (int64_t left = 0; left < plan.ow; left += plan.block) {
            const int64_t pixels = std::min(plan.block, plan.ow - left);
            const int64_t at = (n * plan.oh + r) * plan.ow + left;
            for (int64_t k = 0; k < plan.branches(); k++) {
              const int64_t inside = plan.inside(r, k, left, pixels), width = plan.width[k], lead = plan.first[k];
              if (inside == 0) continue;
              norm_grad<T>(inside, width, coef + lead, o, gs + at * g_pixel + lead, g_pixel, ys + at * o + lead, o,
                           dy.data(), width);
              const int64_t place = plan.place(n, r, left, k);
              in.gather(place, inside, stride, active.data());
              if (want_weights)
                gram<T>(inside, dy.data(), width, width, active.data(), depth, depth, &total.part[start[k]]);
              if (!want_images) continue;
              gemm<T>(inside, depth, width, dy.data(), width, points[k].data(), grad.data(), depth, false);
              in.scatter(grad.data(), active.data(), place, inside, stride, to);
            }
            total.added(pixels);
          }
      }
    });
    if (!want_weights) return;
    const Tensor all = reduced(spilled(totals), {size}, xs[0]);
    for (int64_t k = 0; k < plan.branches(); k++)  // each in memory of its own
      dws.push_back(all.narrow(0, start[k] + (plan.offset[k] - plan.first[k]) * depth, plan.count[k] * depth)
                        .view({plan.count[k], depth, 1, 1})
                        .clone());
  });
  return {dxs, dws};
}

}  // namespace
