// Inverted bottlenecks: an expansion E, relu6, a depthwise convolution, relu6, a projection P, with a
// batch norm after each convolution. What is between E and P is M channels wide and in blocks: see
// blocks.h. Where there are many pixels the expansion is not kept: it is computed again, tile by tile.
// Operators are of E edges, [E, ...], one after the other; batch norms are [4, E, M] as `batch_norm` gave them.
//
// Longer than 400 lines: the three convolutions of one candidate in both directions, over the same blocks.

#include "block_tensors.h"

namespace {

// Pixels of the products of matrices that a thread does at once: the fewer blocks, the longer a walk in each.
int64_t pixels_at_once(int64_t blocks) { return std::clamp<int64_t>(2048 / blocks, 48, 192) / 12 * 12; }

// out [pixels, o] = a g + b y + c of a batch norm's backward, for pixels of g that are `step` elements apart.
template <typename T>
void through_norm(int64_t pixels, int64_t o, const T* g, int64_t step, const T* y, const Rows<T>& coefficients, T* out) {
  constexpr int64_t L = Lanes<T>::count;
  const T *by_g = coefficients.at(0, 0), *by_y = coefficients.at(1, 0), *plus = coefficients.at(2, 0);
  for (int64_t p = 0; p < pixels; p++, g += step, y += o, out += o)
    for (int64_t j = 0; j < o; j += L)
      store(out + j, load(by_g + j) * load(g + j) + load(by_y + j) * load(y + j) + load(plus + j));
}

// Images that are taken through all blocks at once.
int64_t images_at_once(int64_t pixels) { return std::max<int64_t>(1, 1024 / pixels); }

// A thread's images in groups of those.
template <typename F>
void by_groups(int64_t begin, int64_t end, int64_t pixels, F&& f) {
  const int64_t group = images_at_once(pixels);
  for (int64_t i = begin; i < end; i += group) f(i, std::min(group, end - i));
}

// The expansion of x by an edge's weight [M, C]: [blocks, N, H, W, kBlock], and its moments [2, M].
std::array<Tensor, 2> expand_edge(const Tensor& x, const Tensor& weight) {
  const int64_t c = x.size(3), m = weight.size(0), all = x.numel() / c;
  Tensor wide, moments;
  over_real(x, [&](auto real) {
    using T = decltype(real);
    wide = fresh_blocks<T>(m, x.size(0), x.size(1), x.size(2), x);
    const Expansion<T> expansion(x, weight, std::nullopt);
    T* out = wide.mutable_data_ptr<T>();
    const int64_t blocks = blocks_of<T>(m), padded = blocks * kBlock<T>, chunk = pixels_at_once(blocks);
    ByThread<T> totals(2 * padded);
    at::parallel_for(0, (all + chunk - 1) / chunk, 1, [&](int64_t begin, int64_t end) {
      Totals<T>& mine = totals.mine();
      for (int64_t part = begin; part < end; part++) {
        const int64_t first = part * chunk, pixels = std::min(chunk, all - first);
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

// The expansion of x [N, H, W, C] by weight [E, M, C]: in blocks, and its moments [E, 2, M].
std::tuple<Tensor, Tensor> expand_forward(const Tensor& x, const Tensor& weight_) {
  const Tensor weight = whole(weight_);
  check_images(x);
  const auto [wide, moments] =
      by_edge<2>(weight.size(0), [&](int64_t e) { return expand_edge(x, weight.select(0, e)); });
  return {wide, moments};
}

// Of an edge of depthwise_forward.
std::array<Tensor, 2> depthwise_edge(const Tensor& x, const Tensor& expand, const optional<Tensor>& wide,
                                     const Tensor& norm, int64_t edge, const Tensor& weight, int64_t stride,
                                     int64_t padding) {
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), m = weight.size(0), k = weight.size(3);
  const int64_t oh = (h + 2 * padding - k) / stride + 1, ow = (w + 2 * padding - k) / stride + 1;
  Tensor y, moments;
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>;
    const Expansion<T> expansion(x, expand, wide);
    const Rows<T> affine(norm, 2, edge);
    const Buffer<T> taps = rows_in_blocks(weight.const_data_ptr<T>(), m, k * k);
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
                block_relu6<T>(w, from + r * w * B, affine.at(0, block), affine.at(1, block),
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

// The depthwise convolution of relu6(norm(w)), in blocks, and its moments [E, 2, M], where w is the expansion
// of x [N, H, W, C] by `expand` [E, M, C]; `wide` is w where it was kept. The weight is [E, M, 1, k, k].
std::tuple<Tensor, Tensor> depthwise_forward(const Tensor& x, const Tensor& expand_, const optional<Tensor>& wide,
                                             const Tensor& norm, const Tensor& weight_, int64_t stride,
                                             int64_t padding) {
  const Tensor expand = whole(expand_), weight = whole(weight_);
  check_images(x);
  const auto [y, moments] = by_edge<2>(weight.size(0), [&](int64_t e) {
    return depthwise_edge(x, expand.select(0, e), edge_of(wide, e), norm, e, weight.select(0, e), stride, padding);
  });
  return {y, moments};
}

// Of an edge of project_forward.
std::array<Tensor, 2> project_edge(const Tensor& x, const Tensor& norm, int64_t edge, const Tensor& weight) {
  const int64_t o = weight.size(0), m = weight.size(1), all = x.size(1) * x.size(2) * x.size(3);
  Tensor y = fresh({x.size(1), x.size(2), x.size(3), o}, x);
  std::vector<std::vector<double>> totals(at::get_num_threads(), std::vector<double>(2 * o, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>;
    const int64_t blocks = blocks_of<T>(m), chunk = pixels_at_once(blocks);
    const Rows<T> affine(norm, 2, edge);
    const Buffer<T> points = columns_in_blocks(weight.const_data_ptr<T>(), o, m);
    const T* xs = x.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    at::parallel_for(0, (all + chunk - 1) / chunk, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(blocks * chunk * B), part(2 * o);
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task * chunk, pixels = std::min(chunk, all - first);
        for (int64_t block = 0; block < blocks; block++)
          block_relu6<T>(pixels, xs + (block * all + first) * B, affine.at(0, block), affine.at(1, block),
                         &active[block * chunk * B]);
        T* to = ys + first * o;
        from_blocks<T>(pixels, active.data(), chunk * B, blocks, points.data(), o, to, false);
        std::fill(part.begin(), part.end(), T(0));
        sums<T>(pixels, o, to, o, to, o, part.data(), part.data() + o);
        add_to(totals[at::get_thread_num()].data(), part.data(), 2 * o);
      }
    });
  });
  return {y, moments_of(totals, {2, o}, all, x)};
}

// The projection of relu6(norm(x)) by weight [E, O, M], for x in blocks: [E, N, H, W, O], and its moments.
std::tuple<Tensor, Tensor> project_forward(const Tensor& x, const Tensor& norm, const Tensor& weight_) {
  const Tensor weight = whole(weight_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  check_channels(weight.size(1));
  const auto [y, moments] = by_edge<2>(weight.size(0), [&](int64_t e) {
    return project_edge(x.select(0, e), norm, e, weight.select(0, e));
  });
  return {y, moments};
}

// Of an edge of project_backward, with few pixels.
template <typename T>
void project_back_few(const Tensor& g, const Tensor& y, const Rows<T>& back, const Tensor& x, const Rows<T>& affine,
                      const Tensor& weight, Tensor& d, Tensor& sums, optional<Tensor> dw) {
  constexpr int64_t B = kBlock<T>;
  const Image shape = shape_of(g);
  const int64_t o = shape.c, m = weight.size(1), all = shape.n * shape.h * shape.w;
  const T *gs = g.const_data_ptr<T>(), *ys = y.const_data_ptr<T>(), *xs = x.const_data_ptr<T>();
  const T* w = weight.const_data_ptr<T>();
  T *ds = d.mutable_data_ptr<T>(), *grads = dw ? dw->mutable_data_ptr<T>() : nullptr;
  double* totals = sums.mutable_data_ptr<double>();
  Buffer<T> dy(all * o);
  through_norm<T>(all, o, gs, shape.pixel, ys, back, dy.data());
  over_blocks<T>(m, all, [&](int64_t block, int64_t count) {
    Buffer<T> points(o * B), active(dw ? all * B : 0), grad(dw ? o * B : 0, T(0)), sum(2 * B, T(0));
    to_rows_of_block<T>(w + block * B, count, o, m, points.data());
    const T *from = xs + block * all * B, *scales = affine.at(0, block), *shifts = affine.at(1, block);
    T* to = ds + block * all * B;
    to_block<T>(all, dy.data(), o, o, points.data(), to);
    through_block_relu6<T>(all, to, from, scales, shifts, sum.data(), sum.data() + B);
    for (int64_t r = 0; r < 2; r++) std::copy_n(&sum[r * B], count, totals + r * m + block * B);
    if (!dw) return;
    block_relu6<T>(all, from, scales, shifts, active.data());
    block_gram<T>(all, dy.data(), o, active.data(), grad.data());
    from_rows_of_block<T>(grad.data(), count, o, grads + block * B, m);
  });
}

// Of an edge of project_backward.
std::array<Tensor, 3> project_back_edge(const Tensor& g, const Tensor& y, const Tensor& coefficients,
                                        const Tensor& x, const Tensor& norm, int64_t edge, const Tensor& weight,
                                        bool weights) {
  const Image shape = shape_of(g);
  const int64_t o = shape.c, m = weight.size(1), all = shape.n * shape.h * shape.w;
  Tensor d = fresh(x.sizes(), x), sums, dw = nothing(x);
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>;
    const int64_t blocks = blocks_of<T>(m), padded = blocks * B, chunk = pixels_at_once(blocks);
    const Rows<T> affine(norm, 2, edge), back(coefficients, 0, edge);
    if (weights) dw = at::empty({o, m}, x.options());
    if (are_few<T>(all, m)) {
      sums = at::empty({2, m}, x.options().dtype(at::kDouble));
      project_back_few<T>(g, y, back, x, affine, weight, d, sums, weights ? optional<Tensor>(dw) : std::nullopt);
      return;
    }
    Buffer<T> points(padded * o);
    for (int64_t b = 0; b < blocks; b++)
      to_rows_of_block<T>(weight.const_data_ptr<T>() + b * B, std::min(B, m - b * B), o, m, &points[b * o * B]);
    const T* gs = g.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* xs = x.const_data_ptr<T>();
    T* ds = d.mutable_data_ptr<T>();
    ByThread<T> totals(2 * padded), grads(weights ? padded * o : 0);
    at::parallel_for(0, (all + chunk - 1) / chunk, 1, [&](int64_t begin, int64_t end) {
      Totals<T>&mine = totals.mine(), &grad = grads.mine();
      Buffer<T> dy(chunk * o), active(weights ? chunk * B : 0);
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task * chunk, pixels = std::min(chunk, all - first);
        through_norm<T>(pixels, o, gs + first * shape.pixel, shape.pixel, ys + first * o, back, dy.data());
        for (int64_t block = 0; block < blocks; block++) {
          const T *from = xs + (block * all + first) * B, *scales = affine.at(0, block);
          const T* shifts = affine.at(1, block);
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
    if (weights) grads.put(1, m, o, true, dw.mutable_data_ptr<T>());
  });
  return {d, sums, dw};
}

// Backward of project_forward and the batch norms after it, which make a g + b y + c of their gradients g, E of
// them, for `coefficients` [3, E, O]: the gradient of norm(x), in blocks; the sums over pixels of it, and of it
// times x, [E, 2, M] in float64; the weight's gradient.
std::tuple<Tensor, Tensor, Tensor> project_backward(TensorList g, const Tensor& y, const Tensor& coefficients_,
                                                    const Tensor& x, const Tensor& norm, const Tensor& weight_,
                                                    bool weights) {
  const Tensor weight = whole(weight_), coefficients = whole(coefficients_);
  TORCH_CHECK(x.is_contiguous() && y.is_contiguous(), "x and y must be contiguous");
  const auto [d, sums, dw] = by_edge<3>(weight.size(0), [&](int64_t e) {
    return project_back_edge(g[e], y.select(0, e), coefficients, x.select(0, e), norm, e, weight.select(0, e),
                             weights);
  });
  return {d, sums, dw};
}

// What depthwise_backward reads of an edge, and what it does with a block of some images.
template <typename T>
struct DepthwiseBack {
  static constexpr int64_t B = kBlock<T>, L = Lanes<T>::count;
  const int64_t n, h, w, c, m, k, oh, ow, stride, padding, lead, row, u_row;
  const bool weights;
  const Expansion<T> expansion;
  const Rows<T> affine, through;
  const Buffer<T> flipped;
  const BlockConv<T> conv, back;
  const T *gs, *ys, *xs;

  DepthwiseBack(const Tensor& g, const Tensor& y, const Tensor& coefficients, const Tensor& x, const Tensor& expand,
                const optional<Tensor>& wide, const Tensor& norm, int64_t edge, const Tensor& weight, int64_t stride,
                int64_t padding, bool weights)
      : n(x.size(0)), h(x.size(1)), w(x.size(2)), c(x.size(3)), m(weight.size(0)), k(weight.size(3)), oh(y.size(2)),
        ow(y.size(3)), stride(stride), padding(padding), lead(k - 1 - padding), row((w + 2 * padding) * B),
        u_row((w + k - 1) * B), weights(weights), expansion(x, expand, wide), affine(norm, 2, edge),
        through(coefficients, 0, edge),
        flipped(rows_in_blocks(weight.flip({2, 3}).contiguous().const_data_ptr<T>(), m, k * k)),
        conv(block_conv<T>(k, stride)), back(block_conv<T>(k, 1)), gs(g.const_data_ptr<T>()),
        ys(y.const_data_ptr<T>()), xs(x.const_data_ptr<T>()) {}

  // Of a thread: `pixels` of x at once.
  struct Scratch {
    Buffer<T> active, expanded, u;  // u with zeros between the pixels where the stride is 2
    Scratch(const DepthwiseBack& of, int64_t pixels)
        : active(of.weights ? (of.h + 2 * of.padding) * of.row : 0, T(0)), expanded(pixels * B),
          u(of.oh * of.u_row, T(0)) {}
  };

  // The gradient d of the expansion of some images, scaled by its batch norm; adds to the sums over pixels of
  // that before it was scaled, and of it times the expansion, and to the gradient of the taps.
  void run(int64_t block, int64_t first, int64_t images, Scratch& scratch, T* d, T* sum, T* product, T* taps) const {
    const T *scales = affine.at(0, block), *shifts = affine.at(1, block);
    const T *by_g = through.at(0, block), *by_y = through.at(1, block), *plus = through.at(2, block);
    const int64_t pixels = images * h * w;
    const T* from = expansion.get(block, first * h * w, pixels, scratch.expanded.data());
    T *u = scratch.u.data(), *active = scratch.active.data();
    for (int64_t i = 0; i < images; i++) {
      for (int64_t r = 0; r < oh; r++) {
        const int64_t start = (((block * n + first + i) * oh + r) * ow) * B;
        T* at = u + r * u_row + lead * B;
        for (int64_t p = 0; p < ow; p++)
          for (int64_t j = 0; j < B; j += L)
            store(at + p * stride * B + j, load(by_g + j) * load(gs + start + p * B + j) +
                                               load(by_y + j) * load(ys + start + p * B + j) + load(plus + j));
      }
      if (weights) {
        for (int64_t r = 0; r < h; r++)
          block_relu6<T>(w, from + (i * h + r) * w * B, scales, shifts, active + (r + padding) * row + padding * B);
        conv.taps(active, row, h, padding, u + lead * B, u_row, oh, ow, taps);
      }
      for (int64_t r = 0; r < h; r++) {
        // rows of u that meet a tap: r - lead <= stride * y < r - lead + k
        const int64_t y0 = std::max<int64_t>(0, r - lead + stride - 1) / stride;
        const int64_t y1 = std::min(oh, (r - lead + k + stride - 1) / stride);
        const int64_t at = (i * h + r) * w * B, tap = y0 * stride + lead - r;
        back.row(u + y0 * u_row, u_row, std::max<int64_t>(0, y1 - y0), flipped.data() + (block * k + tap) * k * B,
                 stride * k * B, d + at, w);
        through_block_relu6<T>(w, d + at, from + at, scales, shifts, sum, product, scales);
      }
    }
  }
};

// Of an edge of depthwise_backward, with few pixels: threads share the blocks, and then the pixels of `into`.
template <typename T>
void depthwise_back_few(const DepthwiseBack<T>& of, const Buffer<T>& points, T* into, double* totals, T* d_weight,
                        T* d_expand) {
  constexpr int64_t B = kBlock<T>;
  const int64_t m = of.m, c = of.c, taps = of.k * of.k, all = of.n * of.h * of.w, blocks = blocks_of<T>(m);
  Buffer<T> d(blocks * all * B);
  over_blocks<T>(m, all, [&](int64_t block, int64_t count) {
    typename DepthwiseBack<T>::Scratch scratch(of, all);
    Buffer<T> sum(2 * B, T(0)), tap(of.weights ? taps * B : 0, T(0)), grad(of.weights ? B * c : 0, T(0));
    T* own = d.data() + block * all * B;
    of.run(block, 0, of.n, scratch, own, sum.data(), sum.data() + B, tap.data());
    for (int64_t r = 0; r < 2; r++) std::copy_n(&sum[r * B], count, totals + r * m + block * B);
    if (!of.weights) return;
    for (int64_t i = 0; i < count; i++)
      for (int64_t t = 0; t < taps; t++) d_weight[(block * B + i) * taps + t] = tap[t * B + i];
    gram<T>(all, own, B, B, of.xs, c, c, grad.data());
    std::copy_n(grad.data(), count * c, d_expand + block * B * c);
  });
  const int64_t threads = at::get_num_threads();
  const int64_t chunk = std::max<int64_t>(12, ((all + threads - 1) / threads + 11) / 12 * 12);
  at::parallel_for(0, (all + chunk - 1) / chunk, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; part++) {
      const int64_t first = part * chunk;
      from_blocks<T>(std::min(chunk, all - first), d.data() + first * B, all * B, blocks, points.data(), c,
                     into + first * c, true);
    }
  });
}

// Of an edge of depthwise_backward.
std::array<Tensor, 3> depthwise_back_edge(const Tensor& g, const Tensor& y, const Tensor& coefficients,
                                          const Tensor& x, const Tensor& expand, const optional<Tensor>& wide,
                                          const Tensor& norm, int64_t edge, const Tensor& weight, int64_t stride,
                                          int64_t padding, const Tensor& into, bool weights) {
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3), m = weight.size(0), k = weight.size(3);
  Tensor sums, d_weight = nothing(x), d_expand = nothing(x);
  if (weights) d_weight = at::empty(weight.sizes(), x.options()), d_expand = at::empty({m, c}, x.options());
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t B = kBlock<T>;
    const int64_t blocks = blocks_of<T>(m), padded = blocks * B;
    const DepthwiseBack<T> of(g, y, coefficients, x, expand, wide, norm, edge, weight, stride, padding, weights);
    Buffer<T> points(expand.const_data_ptr<T>(), expand.const_data_ptr<T>() + m * c);
    points.resize(padded * c, T(0));
    T *to = into.mutable_data_ptr<T>(), *to_weight = d_weight.mutable_data_ptr<T>();
    T* to_expand = d_expand.mutable_data_ptr<T>();
    if (are_few<T>(n * h * w, m)) {
      sums = at::empty({2, m}, x.options().dtype(at::kDouble));
      depthwise_back_few<T>(of, points, to, sums.mutable_data_ptr<double>(), to_weight, to_expand);
      return;
    }
    const int64_t group = std::min(n, images_at_once(h * w)) * h * w;
    ByThread<T> totals(2 * padded), taps(weights ? padded * k * k : 0), grads(weights ? padded * c : 0);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Totals<T>&mine = totals.mine(), &my_taps = taps.mine(), &grad = grads.mine();
      typename DepthwiseBack<T>::Scratch scratch(of, group);
      Buffer<T> d(group * B);
      by_groups(begin, end, h * w, [&](int64_t first, int64_t images) {
        const int64_t pixels = images * h * w;
        for (int64_t block = 0; block < blocks; block++) {
          T* sum = mine.part.data() + block * B;
          of.run(block, first, images, scratch, d.data(), sum, sum + padded, my_taps.part.data() + block * k * k * B);
          from_blocks<T>(pixels, d.data(), 0, 1, &points[block * B * c], c, to + first * h * w * c, true);
          if (weights)
            block_gram<T>(pixels, of.xs + first * h * w * c, c, d.data(), grad.part.data() + block * c * B);
        }
        mine.added(pixels);
        if (!weights) return;
        my_taps.added(pixels);
        grad.added(pixels);
      });
    });
    sums = totals.sums(m, x);
    if (!weights) return;
    taps.put(1, m, k * k, false, to_weight);
    grads.put(1, m, c, false, to_expand);
  });
  return {sums, d_weight, d_expand};
}

// Backward of depthwise_forward's y and the batch norm after it (see project_backward) and before it, whose
// scale the gradient of w takes; adds to `into` what of x's gradient goes through that. What the batch norm's
// statistics add to it is x times a matrix, by the sums over pixels, [E, 2, M] in float64, of the gradient of
// norm(w), and of it times w. The gradients of the depthwise weight and, in the same way, of `expand`.
std::tuple<Tensor, Tensor, Tensor> depthwise_backward(const Tensor& g, const Tensor& y, const Tensor& coefficients_,
                                                      const Tensor& x, const Tensor& expand_,
                                                      const optional<Tensor>& wide, const Tensor& norm,
                                                      const Tensor& weight_, int64_t stride, int64_t padding,
                                                      Tensor into, bool weights) {
  const Tensor expand = whole(expand_), weight = whole(weight_), coefficients = whole(coefficients_);
  check_images(x);
  TORCH_CHECK(g.is_contiguous() && y.is_contiguous() && into.is_contiguous(), "g, y and into must be contiguous");
  const auto [sums, d_weight, d_expand] = by_edge<3>(weight.size(0), [&](int64_t e) {
    return depthwise_back_edge(g.select(0, e), y.select(0, e), coefficients, x, expand.select(0, e),
                               edge_of(wide, e), norm, e, weight.select(0, e), stride, padding, into, weights);
  });
  return {sums, d_weight, d_expand};
}

}  // namespace
