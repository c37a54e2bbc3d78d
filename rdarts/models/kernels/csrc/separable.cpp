// Separable convolutions: ReLU, depthwise and pointwise convolution in one pass over the rows of an
// image. Only the rows that the taps need at once are kept, so that they stay in the first cache.

#include "folded.h"

namespace {

// Rows of an image with zeros to the left and right: the last `count` of them, and one of zeros alone.
template <typename T>
struct Ring {
  Buffer<T> data;
  std::vector<T*> places;  // of each row of the image: a remainder for each tap costs more
  Ring(int64_t rows, int64_t count, int64_t hop) : data((count + 1) * hop, T(0)), places(rows) {
    for (int64_t y = 0; y < rows; y++) places[y] = data.data() + (1 + y % count) * hop;
  }
  Ring(const Ring&) = delete;  // its places would lie in the other one
  Ring(Ring&&) = default;
  T* row(int64_t y) { return places[y]; }
  const T* zeros() const { return data.data(); }
};

// A depthwise convolution of an image of h x w pixels.
struct Shape {
  int64_t h, w, oh, ow, c, k, stride, padding, dilation;
  int64_t reach() const { return dilation * (k - 1); }
  int64_t lead() const { return reach() - padding; }
  // The last row that output row r reads.
  int64_t bottom(int64_t r) const { return std::min(h - 1, r * stride - padding + reach()); }
  // f(row, ky) of the rows of the image that output row r reads.
  template <typename F>
  void taps(int64_t r, F&& f) const {
    for (int64_t ky = 0; ky < k; ky++) {
      const int64_t y = r * stride - padding + ky * dilation;
      if (y >= 0 && y < h) f(y, ky);
    }
  }
  // f(output row, ky) of the rows of the gradient, flipped taps, that row y of the image's reads.
  template <typename F>
  void flipped_taps(int64_t y, F&& f) const {
    for (int64_t ky = 0; ky < k; ky++) {
      const int64_t at = y - lead() + ky * dilation;
      if (at >= 0 && at % stride == 0 && at / stride < oh) f(at / stride, ky);
    }
  }
};

// y[e] = pointwise[e](depthwise[e](relu(norm[e](x[e])))) for E edges, with the moments of y
// [E, 2, O]. x is [N, H, W, C], the same for all edges, or [E, N, H, W, C]; the norm before the
// relu, if there is one, is what batch_norm gave.
std::tuple<Tensor, Tensor> separable_forward(const Tensor& x, const optional<Tensor>& norm,
                                             const Tensor& depthwise_, const Tensor& pointwise_,
                                             int64_t stride, int64_t padding, int64_t dilation) {
  const Tensor depthwise = whole(depthwise_), pointwise = whole(pointwise_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const bool shared = x.dim() == 4;
  const int64_t edges = depthwise.size(0), k = depthwise.size(3), co = pointwise.size(1);
  const int64_t n = x.size(-4), h = x.size(-3), w = x.size(-2), c = x.size(-1);
  const int64_t oh = (h + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
  const int64_t ow = (w + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
  const Shape shape{h, w, oh, ow, c, k, stride, padding, dilation};
  check_channels(c), check_channels(co);
  Tensor y = fresh({edges, n, oh, ow, co}, x);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(edges * 2 * co, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const Buffer<T> norms = norm ? numbers<T>(*norm) : Buffer<T>();
    const T* scales = norm ? norms.data() + 2 * edges * c : nullptr;
    const T* shifts = norm ? norms.data() + 3 * edges * c : nullptr;
    T* ys = y.mutable_data_ptr<T>();
    std::vector<Buffer<T>> taps, points;
    for (int64_t e = 0; e < edges; e++) {
      taps.push_back(transposed(depthwise.const_data_ptr<T>() + e * c * k * k, c, k * k));
      points.push_back(transposed(pointwise.const_data_ptr<T>() + e * co * c, co, c));
    }
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride);
    const int64_t together = shared ? edges : 1;  // edges that read the same rows
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Ring<T> active(h, shape.reach() + 1, (w + 2 * padding) * c);
      Buffer<T> features(ow * c), part(edges * 2 * co);
      double* total = totals[at::get_thread_num()].data();
      for (int64_t i = begin; i < end; i++) {
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t first = 0; first < edges; first += together) {
          const T* image = xs + ((shared ? 0 : first * n) + i) * h * w * c;
          int64_t next = 0;
          for (int64_t r = 0; r < oh; r++) {
            for (; next <= shape.bottom(r); next++)
              activate<T>(image + next * w * c, w, c, scales ? scales + first * c : nullptr,
                          shifts ? shifts + first * c : nullptr, active.row(next) + padding * c);
            for (int64_t e = first; e < first + together; e++) {
              Window<T> window;
              shape.taps(r, [&](int64_t at, int64_t ky) {
                window.add(active.row(at), taps[e].data() + ky * k * c);
              });
              conv.row(window, features.data(), ow, c, stride, dilation, false);
              T* out = ys + ((e * n + i) * oh + r) * ow * co;
              gemm<T>(ow, co, c, features.data(), c, points[e].data(), out, co, false);
              sums<T>(ow, co, out, co, out, co, &part[e * 2 * co], &part[e * 2 * co + co]);
            }
          }
        }
        add_to(total, part.data(), edges * 2 * co);
      }
    });
  });
  return {y, moments_of(totals, {edges, 2, co}, n * oh * ow, x)};
}

// ReLU, depthwise and pointwise convolution, and the batch norm after them by its running statistics.
template <typename T>
struct FoldedUnit {
  Shape shape;
  int64_t outputs;
  Depthwise<T> conv;
  Folded<T> norm;
  Buffer<T> taps, points;

  // `norm_` and `conv_` are a unit's own of separable_folded.
  FoldedUnit(const Tensor& depthwise_, const Tensor& pointwise_, TensorList norm_, double eps,
             at::IntArrayRef conv_, int64_t h, int64_t w, int64_t c, int64_t o)
      : outputs(o), norm(norm_, eps, pointwise_.size(0), o) {
    const Tensor depthwise = whole(depthwise_), pointwise = whole(pointwise_);
    const int64_t k = depthwise.size(3), stride = conv_[0], padding = conv_[1], dilation = conv_[2];
    const int64_t reach = dilation * (k - 1), own = depthwise.size(0), rows = pointwise.size(0);
    TORCH_CHECK(own <= c && pointwise.size(1) == own && rows <= o, "weights of other channels than the images'");
    shape = {h, w, (h + 2 * padding - reach - 1) / stride + 1, (w + 2 * padding - reach - 1) / stride + 1,
             c, k, stride, padding, dilation};
    conv = depthwise_kernels<T>(k, c, stride);
    taps.assign(k * k * c, T(0)), points.assign(c * o, T(0));
    const T *d = depthwise.const_data_ptr<T>(), *p = pointwise.const_data_ptr<T>();
    for (int64_t i = 0; i < own; i++)
      for (int64_t t = 0; t < k * k; t++) taps[t * c + i] = d[i * k * k + t];
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < own; i++) points[i * o + r] = p[r * own + i];
  }
};

// A whole candidate by running statistics: units of ReLU, depthwise and pointwise convolution and batch
// norm, image by image; what is between them stays in the second cache. Of each unit, `norms` has weight,
// bias, mean and variance, and `convs` stride, padding and dilation. Parameters are those of the first
// channels of the images x and out, [N, H, W, C] and [N, h, w, O]; what is behind them is zeros.
void separable_folded(const Tensor& x, TensorList depthwise, TensorList pointwise, TensorList norms,
                      at::ArrayRef<double> eps, at::IntArrayRef convs, Tensor out, bool accumulate) {
  const int64_t units = depthwise.size(), n = x.size(0);
  TORCH_CHECK(units == int64_t(pointwise.size()) && units == int64_t(eps.size()) &&
                  4 * units == int64_t(norms.size()) && 3 * units == int64_t(convs.size()),
              "a unit has two weights, a batch norm's four tensors and eps, and three numbers of its convolution");
  TORCH_CHECK(x.is_contiguous() && out.is_contiguous(), "x and out must be contiguous");
  check_channels(x.size(3)), check_channels(out.size(3));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    std::vector<FoldedUnit<T>> all;
    int64_t h = x.size(1), w = x.size(2), c = x.size(3), most = 0, before = 0, after = 0;
    for (int64_t u = 0; u < units; u++) {
      const int64_t own = pointwise[u].size(0);
      const int64_t o = u + 1 == units ? out.size(3) : (own + kLanes - 1) / kLanes * kLanes;
      all.emplace_back(depthwise[u], pointwise[u], norms.slice(4 * u, 4), eps[u], convs.slice(3 * u, 3), h, w, c, o);
      h = all.back().shape.oh, w = all.back().shape.ow, c = o;
      most = std::max(most, h * w * c);
      before = std::max(before, w * all.back().shape.c);
      after = std::max(after, w * c);
    }
    TORCH_CHECK(out.size(0) == n && out.size(1) == h && out.size(2) == w, "out is of another size than the result");
    const T* xs = x.const_data_ptr<T>();
    T* outs = out.mutable_data_ptr<T>();
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> features(before), products(after), between[2];
      for (auto& one : between) one.resize(units > 1 ? most : 0);
      std::vector<Ring<T>> rings;
      rings.reserve(units);
      for (const auto& unit : all)
        rings.emplace_back(unit.shape.h, unit.shape.reach() + 1,
                           (unit.shape.w + 2 * unit.shape.padding) * unit.shape.c);
      for (int64_t i = begin; i < end; i++) {
        const T* image = xs + i * x.stride(0);
        for (int64_t u = 0; u < units; u++) {
          const FoldedUnit<T>& unit = all[u];
          const Shape& shape = unit.shape;
          const bool last = u + 1 == units;
          T* to = last ? outs + i * out.stride(0) : between[u % 2].data();
          int64_t next = 0;
          for (int64_t r = 0; r < shape.oh; r++) {
            for (; next <= shape.bottom(r); next++)
              activate<T>(image + next * shape.w * shape.c, shape.w, shape.c, nullptr, nullptr,
                          rings[u].row(next) + shape.padding * shape.c);
            Window<T> window;
            shape.taps(r, [&](int64_t at, int64_t ky) {
              window.add(rings[u].row(at), unit.taps.data() + ky * shape.k * shape.c);
            });
            unit.conv.row(window, features.data(), shape.ow, shape.c, shape.stride, shape.dilation, false);
            gemm<T>(shape.ow, unit.outputs, shape.c, features.data(), shape.c, unit.points.data(), products.data(),
                    unit.outputs, false);
            unit.norm.put(products.data(), shape.ow, to + r * shape.ow * unit.outputs, last && accumulate);
          }
          image = to;
        }
      }
    });
  });
}

// d = 0 where relu(scale * x + shift), or relu(x) without a scale, is; and the sums over pixels of d
// and of d x, [2, C]. As many pixels again are fetched on the way.
template <typename T>
void through_relu(T* d, const T* x, const T* scale, const T* shift, int64_t pixels, int64_t c, T* part) {
  by_channels<T>(c, [&](auto channels) {
    using C = decltype(channels);
    constexpr int64_t W = C::bytes, L = Lanes<T, W>::count;
    const int64_t step = C::or_any(c);
    for (int64_t j = 0; j < step; j += L) {
      const auto a = scale ? load<W>(scale + j) : fill<W>(T(1)), b = shift ? load<W>(shift + j) : Vec<T, W>{};
      Vec<T, W> sum[2] = {}, product[2] = {};  // two each: additions do not wait for each other
      auto pixel = [&](int64_t i, int half) {
        __builtin_prefetch(x + i + pixels * step);
        __builtin_prefetch(d + i + pixels * step, 1);
        const Vec<T, W> at = load<W>(x + i), v = at * a + b;
        const Vec<T, W> left = v <= Vec<T, W>{} ? Vec<T, W>{} : load<W>(d + i);
        store(d + i, left);
        sum[half] += left;
        product[half] += left * at;
      };
      int64_t i = j;
      for (; i + step < pixels * step; i += 2 * step) pixel(i, 0), pixel(i + step, 1);
      if (i < pixels * step) pixel(i, 0);
      store(part + j, load<W>(part + j) + sum[0] + sum[1]);
      store(part + step + j, load<W>(part + step + j) + product[0] + product[1]);
    }
  });
}

// [E, K, C] as [E, C, K], of these sizes.
Tensor by_channel(const Tensor& from, at::IntArrayRef sizes) {
  const int64_t edges = from.size(0), taps = from.size(1), c = from.size(2);
  Tensor result = at::empty(sizes, from.options());
  over_real(from, [&](auto real) {
    using T = decltype(real);
    const T* in = from.const_data_ptr<T>();
    T* out = result.mutable_data_ptr<T>();
    for (int64_t e = 0; e < edges; e++, in += taps * c)
      for (int64_t i = 0; i < c; i++)
        for (int64_t k = 0; k < taps; k++) *out++ = in[k * c + i];
  });
  return result;
}

// Backward of separable_forward and the batch norm after it. The gradient of y is
// coefficients[e, 0] g[e] + coefficients[e, 1] y[e] + coefficients[e, 2]; for g see each_image.
// x shared: the gradient of relu(x), over edges, is put or added into `into` [N, H, W, C]. x per edge:
// returns the gradient of the normalised x, [E, N, H, W, C], and its sums and those of its
// product with x, [E, 2, C]. With `weights` the gradients of both convolutions are returned.
std::tuple<Tensor, Tensor, Tensor, Tensor> separable_backward(
    TensorList g, const Tensor& y, const Tensor& coefficients, const Tensor& x,
    const optional<Tensor>& norm, const Tensor& depthwise_, const Tensor& pointwise_, int64_t stride,
    int64_t padding, int64_t dilation, const optional<Tensor>& into, bool accumulate, bool weights) {
  const Tensor depthwise = whole(depthwise_), pointwise = whole(pointwise_);
  TORCH_CHECK(x.is_contiguous() && y.is_contiguous(), "x and y must be contiguous");
  const bool shared = x.dim() == 4;
  TORCH_CHECK(shared == into.has_value(), "`into` goes with an x that edges share");
  const int64_t edges = depthwise.size(0), k = depthwise.size(3), co = pointwise.size(1);
  const int64_t n = x.size(-4), h = x.size(-3), w = x.size(-2), c = x.size(-1);
  const int64_t oh = y.size(2), ow = y.size(3);
  const Shape shape{h, w, oh, ow, c, k, stride, padding, dilation};
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
    const T* xs = x.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const Buffer<T> coef = numbers<T>(coefficients);
    const Buffer<T> norms = norm ? numbers<T>(*norm) : Buffer<T>();
    const T* scales = norm ? norms.data() + 2 * edges * c : nullptr;
    const T* shifts = norm ? norms.data() + 3 * edges * c : nullptr;
    const T* points = pointwise.const_data_ptr<T>();
    T* dxs = dx.mutable_data_ptr<T>();
    std::vector<const T*> gs;
    std::vector<int64_t> g_pixel;
    each_image<T>(g, [&](const T* from, int64_t pixel) { gs.push_back(from), g_pixel.push_back(pixel); });
    TORCH_CHECK(int64_t(gs.size()) == edges, "there are ", gs.size(), " gradients, but ", edges, " edges");
    std::vector<Buffer<T>> taps, flipped;
    for (int64_t e = 0; e < edges; e++) {
      const T* d = depthwise.const_data_ptr<T>() + e * c * k * k;
      taps.push_back(transposed(d, c, k * k));
      flipped.push_back(transposed(d, c, k * k, true));
    }
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride), back = depthwise_kernels<T>(k, c, 1);
    const int64_t lead = shape.lead() * c;
    const int64_t block = std::max<int64_t>(1, 32 / ow);  // rows whose sums are taken at once
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      const int64_t kept = weights ? shape.reach() + (block - 1) * stride + 1 : 0;
      Ring<T> active(weights ? h : 0, kept, (w + 2 * padding) * c);
      // The features' gradient, zeros between its pixels where the stride is 2, and around.
      Ring<T> u(oh, shape.reach() + block, (w + shape.reach()) * c);
      std::vector<const T*> inputs, grads;  // rows whose weights' gradient is still to be taken
      Buffer<T> dys(block * ow * co), features(block * ow * c), part_s(2 * c);
      // Gradients of weights are summed in T over some thousand pixels, beyond them in float64.
      Buffer<T> part_d(weights ? edges * k * k * c : 0, T(0)), part_p(weights ? edges * co * c : 0, T(0));
      int64_t pixels = 0;
      const int me = at::get_thread_num();
      for (int64_t i = begin; i < end; i++) {
        for (int64_t e = 0; e < edges; e++) {
          const T* a = scales ? scales + e * c : nullptr;
          const T* b = shifts ? shifts + e * c : nullptr;
          const T* image = xs + ((shared ? 0 : e * n) + i) * h * w * c;
          T* to = dxs + ((shared ? 0 : e * n) + i) * h * w * c;
          std::fill(part_s.begin(), part_s.end(), T(0));
          int64_t next = 0, done = 0;
          for (int64_t r = 0; r < oh; r++) {
            const int64_t place = r % block;
            T* dy = dys.data() + place * ow * co;
            norm_grad<T>(ow, co, coef.data() + e * 3 * co, co, gs[e] + (i * oh + r) * ow * g_pixel[e], g_pixel[e],
                         ys + ((e * n + i) * oh + r) * ow * co, co, dy, co);
            gemm<T>(ow, c, co, dy, co, points + e * co * c, u.row(r) + lead, stride * c, false);
            if (weights) {
              for (; next <= shape.bottom(r); next++)
                activate<T>(image + next * w * c, w, c, a, b, active.row(next) + padding * c);
              Window<T> window;
              inputs.resize((place + 1) * k, active.zeros());
              shape.taps(r, [&](int64_t at, int64_t ky) {
                window.add(active.row(at), taps[e].data() + ky * k * c);
                inputs[place * k + ky] = active.row(at);
              });
              grads.push_back(u.row(r) + lead);
              conv.row(window, &features[place * ow * c], ow, c, stride, dilation, false);
              if (place + 1 == block || r + 1 == oh) {
                gram<T>((place + 1) * ow, dys.data(), co, co, features.data(), c, c, part_p.data() + e * co * c);
                conv.weight_rows(inputs, grads, part_d.data() + e * k * k * c, ow, c, stride, dilation);
                inputs.clear(), grads.clear();
              }
            }
            // Rows that no later row of the gradient reaches
            const int64_t last = r + 1 < oh ? std::min(h, (r + 1) * stride - padding) : h;
            for (; done < last; done++) {
              Window<T> window;
              shape.flipped_taps(done, [&](int64_t at, int64_t ky) {
                window.add(u.row(at), flipped[e].data() + ky * k * c);
              });
              T* out = to + done * w * c;
              back.row(window, out, w, c, 1, dilation, shared && (accumulate || e > 0));
              if (!shared) through_relu<T>(out, image + done * w * c, a, b, w, c, part_s.data());
            }
          }
          if (!shared) add_to(total_s[me].data() + e * 2 * c, part_s.data(), 2 * c);
        }
        pixels += oh * ow;
        if (weights && (pixels >= 1024 || i + 1 == end)) {
          add_to(total_d[me].data(), part_d.data(), part_d.size());
          add_to(total_p[me].data(), part_p.data(), part_p.size());
          std::fill(part_d.begin(), part_d.end(), T(0));
          std::fill(part_p.begin(), part_p.end(), T(0));
          pixels = 0;
        }
      }
    });
  });
  if (weights) {
    d_depthwise = by_channel(reduced(total_d, {edges, k * k, c}, x), {edges, c, 1, k, k});
    d_pointwise = reduced(total_p, {edges, co, c, 1, 1}, x);
  }
  if (!shared) dx_sums = reduced(total_s, {edges, 2, c}, x, true);
  return {shared ? nothing(x) : dx, dx_sums, d_depthwise, d_pointwise};
}

}  // namespace
