// Inverted bottlenecks: an expansion E, relu6, a depthwise convolution, relu6, a projection P, with a
// batch norm after each convolution. What is between E and P is M channels wide and in blocks: see
// blocks.h. Where there are many pixels the expansion is not kept: it is computed again, tile by tile.

#include "blocks.h"

namespace {

// Sums over pixels in blocks of one thread: in T over some thousand pixels, beyond them in float64.
template <typename T>
class Totals {
 public:
  explicit Totals(int64_t count) : part(count, T(0)), total(count, 0.0) {}
  // `pixels` have been added to `part`.
  void added(int64_t pixels) {
    pixels_ += pixels;
    if (pixels_ >= 1024) spill();
  }
  void spill() {
    if (pixels_ == 0) return;
    add_to(total.data(), part.data(), part.size());
    std::fill(part.begin(), part.end(), T(0));
    pixels_ = 0;
  }
  Buffer<T> part;
  std::vector<double> total;

 private:
  int64_t pixels_ = 0;
};

// Of each thread that had something to do.
template <typename T>
struct ByThread {
  std::vector<std::unique_ptr<Totals<T>>> all;
  int64_t count;
  explicit ByThread(int64_t size) : all(at::get_num_threads()), count(size) {}
  Totals<T>& mine() {
    auto& found = all[at::get_thread_num()];
    if (!found) found = std::make_unique<Totals<T>>(count);
    return *found;
  }
  // The sum over threads of [rows, blocks, depth, kBlock] as [rows, channels, depth] or, `last`,
  // [rows, depth, channels]. It is in `real` numbers.
  template <typename R>
  void put(int64_t rows, int64_t channels, int64_t depth, bool last, R* to) {
    std::vector<const double*> from;
    for (auto& one : all)
      if (one) {
        one->spill();
        from.push_back(one->total.data());
      }
    const int64_t blocks = blocks_of<T>(channels);
    at::parallel_for(0, rows * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; block++) {
        const int64_t r = block / blocks, first = block % blocks * kBlock<T>;
        const int64_t lanes = std::min(kBlock<T>, channels - first);
        for (int64_t k = 0; k < depth; k++)
          for (int64_t i = 0; i < lanes; i++) {
            double value = 0;
            for (const double* one : from) value += one[(block * depth + k) * kBlock<T> + i];
            const int64_t m = first + i;
            to[r * channels * depth + (last ? k * channels + m : m * depth + k)] = R(value);
          }
      }
    });
  }
  // Sums [2, channels] in float64.
  Tensor sums(int64_t channels, const Tensor& like) {
    Tensor result = at::empty({2, channels}, like.options().dtype(at::kDouble));
    put(2, channels, 1, false, result.mutable_data_ptr<double>());
    return result;
  }
  // From the sums of y and y^2 its moments [2, channels].
  Tensor moments(int64_t channels, int64_t pixels, const Tensor& like) {
    Tensor result = sums(channels, like);
    double* mean = result.mutable_data_ptr<double>();
    for (int64_t i = 0; i < channels; i++) {
      mean[i] /= pixels;
      double& var = mean[channels + i];
      var = std::max(0.0, var / pixels - mean[i] * mean[i]);
    }
    return result;
  }
};

// The expansion of x, [blocks, N, H, W, kBlock], as it was kept or computed again.
template <typename T>
struct Expansion {
  const T *x, *kept;
  int64_t c, pixels;
  Buffer<T> weight;
  Expansion(const Tensor& x_, const Tensor& weight_, const optional<Tensor>& wide)
      : x(x_.const_data_ptr<T>()), kept(wide ? wide->const_data_ptr<T>() : nullptr), c(x_.size(3)),
        pixels(x_.numel() / c) {
    if (!kept) weight = in_blocks(weight_.const_data_ptr<T>(), weight_.size(0), c, c, int64_t(1));
  }
  // `count` pixels of a block from `first` on, for which there is room in `scratch`.
  const T* get(int64_t block, int64_t first, int64_t count, T* scratch) const {
    if (kept) return kept + (block * pixels + first) * kBlock<T>;
    to_block<T>(count, x + first * c, c, c, weight.data() + block * c * kBlock<T>, scratch);
    return scratch;
  }
};

void check_images(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && x.is_contiguous(), "x must be contiguous [N, H, W, C]");
  check_channels(x.size(3));
}

// Pixels of the products of matrices that a thread does at once.
constexpr int64_t kPixels = 48;

// Images that are taken through all blocks at once.
int64_t images_at_once(int64_t pixels) { return std::max<int64_t>(1, 1024 / pixels); }

// A thread's images in groups of those.
template <typename F>
void by_groups(int64_t begin, int64_t end, int64_t pixels, F&& f) {
  const int64_t group = images_at_once(pixels);
  for (int64_t i = begin; i < end; i += group) f(i, std::min(group, end - i));
}

// The expansion of x [N, H, W, C] by weight [M, C]: [blocks, N, H, W, kBlock], and its moments [2, M].
std::tuple<Tensor, Tensor> expand_forward(const Tensor& x, const Tensor& weight_) {
  const Tensor weight = whole(weight_);
  check_images(x);
  const int64_t c = x.size(3), m = weight.size(0), all = x.numel() / c;
  Tensor wide, moments;
  over_real(x, [&](auto real) {
    using T = decltype(real);
    wide = fresh_blocks<T>(m, x.size(0), x.size(1), x.size(2), x);
    const Expansion<T> expansion(x, weight, std::nullopt);
    T* out = wide.mutable_data_ptr<T>();
    const int64_t blocks = blocks_of<T>(m), padded = blocks * kBlock<T>;
    ByThread<T> totals(2 * padded);
    at::parallel_for(0, (all + kPixels - 1) / kPixels, 1, [&](int64_t begin, int64_t end) {
      Totals<T>& mine = totals.mine();
      for (int64_t part = begin; part < end; part++) {
        const int64_t first = part * kPixels, pixels = std::min(kPixels, all - first);
        for (int64_t b = 0; b < blocks; b++) {
          T* to = out + (b * all + first) * kBlock<T>;
          expansion.get(b, first, pixels, to);
          T* sum = mine.part.data() + b * kBlock<T>;
          block_sums<T>(pixels, to, to, sum, sum + padded);
        }
        mine.added(pixels);
      }
    });
    moments = totals.moments(m, all, x);
  });
  return {wide, moments};
}

// The depthwise convolution of relu6(scale w + shift), in blocks, and its moments [2, M], where w is the
// expansion of x by `expand` [M, C]; `wide` is w where it was kept.
std::tuple<Tensor, Tensor> depthwise_forward(const Tensor& x, const Tensor& expand_, const optional<Tensor>& wide,
                                             const Tensor& scale, const Tensor& shift, const Tensor& weight_,
                                             int64_t stride, int64_t padding) {
  const Tensor expand = whole(expand_), weight = whole(weight_);
  check_images(x);
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), m = weight.size(0), k = weight.size(3);
  const int64_t oh = (h + 2 * padding - k) / stride + 1, ow = (w + 2 * padding - k) / stride + 1;
  Tensor y, moments;
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>;
    const Expansion<T> expansion(x, expand, wide);
    const Buffer<T> a = rows_in_blocks<T>(scale), b = rows_in_blocks<T>(shift);
    const Buffer<T> taps = in_blocks(weight.const_data_ptr<T>(), m, k * k, k * k, int64_t(1));
    const auto conv = block_conv<T>(k, stride);
    const int64_t blocks = blocks_of<T>(m), padded = blocks * B, row = (w + 2 * padding) * B;
    const int64_t rows = std::max<int64_t>(1, 256 / w);  // whose expansion stays in the first cache
    y = fresh_blocks<T>(m, n, oh, ow, x);
    T* out = y.mutable_data_ptr<T>();
    ByThread<T> totals(2 * padded);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Totals<T>& mine = totals.mine();
      Buffer<T> scratch(rows * w * B), active(h * row, T(0));
      by_groups(begin, end, h * w, [&](int64_t first, int64_t images) {
        for (int64_t block = 0; block < blocks; block++) {
          T* sum = mine.part.data() + block * B;
          for (int64_t i = first; i < first + images; i++) {
            for (int64_t top = 0; top < h; top += rows) {
              const int64_t count = std::min(rows, h - top);
              const T* from = expansion.get(block, (i * h + top) * w, count * w, scratch.data());
              for (int64_t r = 0; r < count; r++)
                block_relu6<T>(w, from + r * w * B, &a[block * B], &b[block * B],
                               &active[(top + r) * row + padding * B]);
            }
            for (int64_t r = 0; r < oh; r++) {
              const int64_t y0 = std::max<int64_t>(0, r * stride - padding);
              const int64_t y1 = std::min(h, r * stride - padding + k);
              const T* own = &taps[(block * k + y0 + padding - r * stride) * k * B];
              T* to = out + (((block * n + i) * oh + r) * ow) * B;
              conv.row(active.data() + y0 * row, row, y1 - y0, own, k * B, to, ow);
              block_sums<T>(ow, to, to, sum, sum + padded);
            }
          }
        }
        mine.added(images * oh * ow);
      });
    });
    moments = totals.moments(m, n * oh * ow, x);
  });
  return {y, moments};
}

// The projection of relu6(scale x + shift) by weight [O, M], for x in blocks: [N, H, W, O], and its moments.
std::tuple<Tensor, Tensor> project_forward(const Tensor& x, const Tensor& scale, const Tensor& shift,
                                           const Tensor& weight_) {
  const Tensor weight = whole(weight_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const int64_t o = weight.size(0), m = weight.size(1), all = x.size(1) * x.size(2) * x.size(3);
  check_channels(o);
  Tensor y = fresh({x.size(1), x.size(2), x.size(3), o}, x);
  std::vector<std::vector<double>> totals(at::get_num_threads(), std::vector<double>(2 * o, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>;
    const int64_t blocks = blocks_of<T>(m);
    const Buffer<T> a = rows_in_blocks<T>(scale), b = rows_in_blocks<T>(shift);
    Buffer<T> points = transposed(weight.const_data_ptr<T>(), o, m);
    points.resize(blocks * B * o, T(0));
    const T* xs = x.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    at::parallel_for(0, (all + kPixels - 1) / kPixels, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(blocks * kPixels * B), part(2 * o);
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task * kPixels, pixels = std::min(kPixels, all - first);
        for (int64_t block = 0; block < blocks; block++)
          block_relu6<T>(pixels, xs + (block * all + first) * B, &a[block * B], &b[block * B],
                         &active[block * kPixels * B]);
        T* to = ys + first * o;
        from_blocks<T>(pixels, active.data(), kPixels * B, blocks, points.data(), o, to, false);
        std::fill(part.begin(), part.end(), T(0));
        sums<T>(pixels, o, to, o, to, o, part.data(), part.data() + o);
        add_to(totals[at::get_thread_num()].data(), part.data(), 2 * o);
      }
    });
  });
  return {y, moments_of(totals, {2, o}, all, x)};
}

// Backward of project_forward and the batch norm after it, which makes a g + b y + c of its gradient g, for
// `coefficients` [3, O]: the gradient of scale x + shift, in blocks; the sums over pixels of it, and of it
// times x, [2, M] in float64; the weight's gradient.
std::tuple<Tensor, Tensor, Tensor> project_backward(const Tensor& g, const Tensor& y, const Tensor& coefficients_,
                                                    const Tensor& x, const Tensor& scale, const Tensor& shift,
                                                    const Tensor& weight_, bool weights) {
  const Tensor weight = whole(weight_), coefficients = whole(coefficients_);
  TORCH_CHECK(x.is_contiguous() && y.is_contiguous(), "x and y must be contiguous");
  const Image shape = shape_of(g);
  const int64_t o = shape.c, m = weight.size(1), all = shape.n * shape.h * shape.w;
  Tensor d = fresh(x.sizes(), x), sums, dw = nothing(x);
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>, L = Lanes<T>::count;
    const int64_t blocks = blocks_of<T>(m), padded = blocks * B;
    const Buffer<T> a = rows_in_blocks<T>(scale), b = rows_in_blocks<T>(shift);
    const Buffer<T> points = in_blocks(weight.const_data_ptr<T>(), m, o, int64_t(1), m);
    const T* gs = g.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    const T* xs = x.const_data_ptr<T>();
    T* ds = d.mutable_data_ptr<T>();
    ByThread<T> totals(2 * padded), grads(weights ? padded * o : 0);
    at::parallel_for(0, (all + kPixels - 1) / kPixels, 1, [&](int64_t begin, int64_t end) {
      Totals<T>&mine = totals.mine(), &grad = grads.mine();
      Buffer<T> dy(kPixels * o), active(weights ? kPixels * B : 0);
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task * kPixels, pixels = std::min(kPixels, all - first);
        for (int64_t p = 0; p < pixels; p++)
          for (int64_t j = 0; j < o; j += L)
            store(&dy[p * o + j], load(coef + j) * load(gs + (first + p) * shape.pixel + j) +
                                      load(coef + o + j) * load(ys + (first + p) * o + j) +
                                      load(coef + 2 * o + j));
        for (int64_t block = 0; block < blocks; block++) {
          const T *from = xs + (block * all + first) * B, *scales = &a[block * B], *shifts = &b[block * B];
          T *to = ds + (block * all + first) * B, *sum = mine.part.data() + block * B;
          to_block<T>(pixels, dy.data(), o, o, &points[block * o * B], to);
          through_block_relu6<T>(pixels, to, from, scales, shifts, sum, sum + padded);
          if (!weights) continue;
          block_relu6<T>(pixels, from, scales, shifts, active.data());
          block_gram<T>(pixels, dy.data(), o, active.data(), grad.part.data() + block * o * B);
        }
        mine.added(pixels);
        if (weights) grad.added(pixels);
      }
    });
    sums = totals.sums(m, x);
    if (!weights) return;
    dw = at::empty({o, m}, x.options());
    grads.put(1, m, o, true, dw.mutable_data_ptr<T>());
  });
  return {d, sums, dw};
}

// Backward of depthwise_forward's y and the batch norm after it (see project_backward) and before it, whose
// scale the gradient of w takes; adds to `into` what of x's gradient goes through that. What the batch norm's
// statistics add to it is x times a matrix, by the sums over pixels, [2, M] in float64, of the gradient of
// scale w + shift, and of it times w. The gradients of the depthwise weight and, in the same way, of `expand`.
std::tuple<Tensor, Tensor, Tensor> depthwise_backward(const Tensor& g, const Tensor& y, const Tensor& coefficients,
                                                      const Tensor& x, const Tensor& expand_,
                                                      const optional<Tensor>& wide, const Tensor& scale,
                                                      const Tensor& shift, const Tensor& weight_, int64_t stride,
                                                      int64_t padding, Tensor into, bool weights) {
  const Tensor expand = whole(expand_), weight = whole(weight_);
  check_images(x);
  TORCH_CHECK(g.is_contiguous() && y.is_contiguous() && into.is_contiguous(), "g, y and into must be contiguous");
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3), m = weight.size(0), k = weight.size(3);
  const int64_t oh = y.size(2), ow = y.size(3), lead = k - 1 - padding;
  Tensor sums, d_weight = nothing(x), d_expand = nothing(x);
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>, L = Lanes<T>::count;
    const int64_t blocks = blocks_of<T>(m), padded = blocks * B;
    const Expansion<T> expansion(x, expand, wide);
    const Buffer<T> a = rows_in_blocks<T>(scale), b = rows_in_blocks<T>(shift);
    const Buffer<T> coef = rows_in_blocks<T>(coefficients);
    Buffer<T> points(expand.const_data_ptr<T>(), expand.const_data_ptr<T>() + m * c);
    points.resize(padded * c, T(0));
    const Tensor reversed = weight.flip({2, 3}).contiguous();
    const Buffer<T> flipped = in_blocks(reversed.const_data_ptr<T>(), m, k * k, k * k, int64_t(1));
    const auto conv = block_conv<T>(k, stride), back = block_conv<T>(k, 1);
    const T *gs = g.const_data_ptr<T>(), *ys = y.const_data_ptr<T>(), *xs = x.const_data_ptr<T>();
    T* to = into.mutable_data_ptr<T>();
    const int64_t row = (w + 2 * padding) * B, u_row = (w + k - 1) * B;
    const int64_t group = std::min(n, images_at_once(h * w)) * h * w;
    ByThread<T> totals(2 * padded), taps(weights ? padded * k * k : 0), grads(weights ? padded * c : 0);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Totals<T>&mine = totals.mine(), &my_taps = taps.mine(), &grad = grads.mine();
      Buffer<T> active(weights ? (h + 2 * padding) * row : 0, T(0)), scratch(group * B), d(group * B);
      Buffer<T> u(oh * u_row, T(0));  // with zeros between the pixels where the stride is 2
      by_groups(begin, end, h * w, [&](int64_t first, int64_t images) {
        const int64_t pixels = images * h * w;
        for (int64_t block = 0; block < blocks; block++) {
          const T *scales = &a[block * B], *shifts = &b[block * B], *own = &coef[block * B];
          const T* from = expansion.get(block, first * h * w, pixels, scratch.data());
          T* sum = mine.part.data() + block * B;
          for (int64_t i = 0; i < images; i++) {
            for (int64_t r = 0; r < oh; r++) {
              const int64_t start = (((block * n + first + i) * oh + r) * ow) * B;
              T* at = &u[r * u_row + lead * B];
              for (int64_t p = 0; p < ow; p++)
                for (int64_t j = 0; j < B; j += L)
                  store(at + p * stride * B + j, load(own + j) * load(gs + start + p * B + j) +
                                                     load(own + padded + j) * load(ys + start + p * B + j) +
                                                     load(own + 2 * padded + j));
            }
            if (weights) {
              for (int64_t r = 0; r < h; r++)
                block_relu6<T>(w, from + (i * h + r) * w * B, scales, shifts,
                               &active[(r + padding) * row + padding * B]);
              conv.taps(active.data(), row, h, padding, &u[lead * B], u_row, oh, ow,
                        my_taps.part.data() + block * k * k * B);
            }
            for (int64_t r = 0; r < h; r++) {
              // rows of u that meet a tap: r - lead <= stride * y < r - lead + k
              const int64_t y0 = std::max<int64_t>(0, r - lead + stride - 1) / stride;
              const int64_t y1 = std::min(oh, (r - lead + k + stride - 1) / stride);
              const int64_t at = (i * h + r) * w * B, tap = y0 * stride + lead - r;
              back.row(u.data() + y0 * u_row, u_row, std::max<int64_t>(0, y1 - y0),
                       flipped.data() + (block * k + tap) * k * B, stride * k * B, &d[at], w);
              through_block_relu6<T>(w, &d[at], from + at, scales, shifts, sum, sum + padded);
            }
          }
          for (int64_t p = 0; p < pixels; p++)
            for (int64_t j = 0; j < B; j += L) store(&d[p * B + j], load(&d[p * B + j]) * load(scales + j));
          from_blocks<T>(pixels, d.data(), 0, 1, &points[block * B * c], c, to + first * h * w * c, true);
          if (weights)
            block_gram<T>(pixels, xs + first * h * w * c, c, d.data(), grad.part.data() + block * c * B);
        }
        mine.added(pixels);
        if (!weights) return;
        my_taps.added(pixels);
        grad.added(pixels);
      });
    });
    sums = totals.sums(m, x);
    if (!weights) return;
    d_weight = at::empty(weight.sizes(), x.options());
    taps.put(1, m, k * k, false, d_weight.mutable_data_ptr<T>());
    d_expand = at::empty({m, c}, x.options());
    grads.put(1, m, c, false, d_expand.mutable_data_ptr<T>());
  });
  return {sums, d_weight, d_expand};
}

}  // namespace
