// The mixture of the candidates of an edge, its sums for the backward, and the gradient of what
// the edges read.
//
// Longer than 400 lines: three passes over the same terms, which may be images or noise yet to be drawn.

#include <numeric>

#include "normal.h"
#include "tensors.h"

namespace {

// Terms of one edge: images, or noise that is drawn where it is used, of a seed.
template <typename T>
struct Terms {
  std::vector<const T*> from;
  std::vector<int64_t> pixel;
  std::vector<const T*> scale;
  std::vector<T*> product;
  std::vector<std::pair<size_t, uint64_t>> seeds;  // of which term, and which
  std::vector<const T*> here;                      // in a block of pixels
  std::vector<Buffer<T>> noise;

  void add(const T* image, int64_t image_pixel) {
    from.push_back(image);
    pixel.push_back(image_pixel);
  }

  void add_noise(const Tensor& seed, int64_t c) {
    TORCH_CHECK(seed.scalar_type() == at::kLong, "the seed of noise must be int64");
    seeds.emplace_back(from.size(), uint64_t(*seed.const_data_ptr<int64_t>()));
    add(nullptr, c);
  }

  // The block of so many pixels that starts at the first of all images' pixels.
  void go_to(int64_t first, int64_t pixels, int64_t c) {
    here.resize(from.size());
    noise.resize(seeds.size());
    for (size_t t = 0; t < from.size(); t++) here[t] = from[t] + (from[t] ? first * pixel[t] : 0);
    for (size_t i = 0; i < seeds.size(); i++) {
      noise[i].resize(pixels * c);
      rdarts::standard_normals(seeds[i].second, first * c, pixels * c, noise[i].data());
      here[seeds[i].first] = noise[i].data();
    }
  }
};

// Pixels of a block, of which noise is drawn in whole blocks of its own.
template <typename T>
int64_t block_of(const std::vector<Terms<T>>& terms, int64_t c) {
  const bool plain = std::all_of(terms.begin(), terms.end(), [](const Terms<T>& one) { return one.seeds.empty(); });
  const int64_t unit = plain ? 1 : rdarts::kNormals / std::gcd(rdarts::kNormals, c);
  return (block_of(c) + unit - 1) / unit * unit;
}

// The terms of each edge, from a list of images, one after another, and seeds of noise.
template <typename T>
std::vector<Terms<T>> terms_of(TensorList list, at::IntArrayRef edge_of, size_t edges, int64_t c) {
  std::vector<Terms<T>> found(edges);
  size_t t = 0;
  auto next = [&]() -> Terms<T>& {
    TORCH_CHECK(t < edge_of.size(), "there are more terms than ", edge_of.size(), " edges of them");
    const int64_t edge = edge_of[t++];
    TORCH_CHECK(0 <= edge && edge < int64_t(edges), "a term is of edge ", edge, ", but there are ", edges, " edges");
    return found[edge];
  };
  for (const Tensor& term : list)
    if (term.dim() == 0) next().add_noise(term, c);
    else each_image<T>(term, [&](const T* image, int64_t pixel) { next().add(image, pixel); });
  TORCH_CHECK(t == edge_of.size(), "there are ", t, " terms, but ", edge_of.size(), " edges of them");
  return found;
}

// out (+)= shift + sum of NT terms, scaled.
template <typename T, int NT, int64_t W>
void mix_block(int64_t pixels, int64_t c, T* out, int64_t out_pixel, bool accumulate, const T* shift,
               const Terms<T>& terms, size_t first) {
  constexpr int64_t L = Lanes<T, W>::count;
  for (int64_t i = 0; i < c; i += L) {
    Vec<T, W> scale[NT];
    const T* from[NT];
    int64_t step[NT];
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
      scale[t] = load<W>(terms.scale[first + t] + i);
      step[t] = terms.pixel[first + t];
      from[t] = terms.here[first + t] + i;
    }
    const Vec<T, W> base = shift ? load<W>(shift + i) : Vec<T, W>{};
    T* to = out + i;
    for (int64_t p = 0; p < pixels; p++) {
      Vec<T, W> sum = accumulate ? base + load<W>(to) : base;
#pragma GCC unroll 4
      for (int t = 0; t < NT; t++) {
        sum += scale[t] * load<W>(from[t]);
        from[t] += step[t];
      }
      store(to, sum);
      to += out_pixel;
    }
  }
}

template <typename T>
void mix_edge(int64_t pixels, int64_t c, T* out, int64_t out_pixel, bool accumulate, const T* shift,
              const Terms<T>& terms) {
  size_t first = 0;
  do {
    const size_t count = std::min<size_t>(4, terms.from.size() - first);
    auto* run = by_width<T>(c, [&](auto width) {
      constexpr int64_t W = decltype(width)::bytes;
      return count == 4   ? mix_block<T, 4, W>
             : count == 3 ? mix_block<T, 3, W>
             : count == 2 ? mix_block<T, 2, W>
             : count == 1 ? mix_block<T, 1, W>
                          : mix_block<T, 0, W>;
    });
    run(pixels, c, out, out_pixel, accumulate, shift, terms, first);
    first += count;
    accumulate = true;
    shift = nullptr;
  } while (first < terms.from.size());
}

// total += sum_p g[p], product[t] += sum_p g[p] term[t][p], for NT terms.
template <typename T, int NT, int64_t W>
void sums_block(int64_t pixels, int64_t c, const T* g, int64_t g_pixel, T* total, const Terms<T>& terms,
                size_t first) {
  constexpr int64_t L = Lanes<T, W>::count;
  for (int64_t i = 0; i < c; i += L) {
    Vec<T, W> sum[NT + 1], other[NT + 1];
    const T* from[NT + 1];
    int64_t step[NT + 1];
    sum[NT] = other[NT] = Vec<T, W>{};
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
      sum[t] = other[t] = Vec<T, W>{};
      step[t] = terms.pixel[first + t];
      from[t] = terms.here[first + t] + i;
    }
    const T* at = g + i;
    int64_t p = 0;
    for (; p + 2 <= pixels; p += 2) {  // two sums each: additions do not wait for each other
      const Vec<T, W> g0 = load<W>(at), g1 = load<W>(at + g_pixel);
      at += 2 * g_pixel;
      sum[NT] += g0;
      other[NT] += g1;
#pragma GCC unroll 4
      for (int t = 0; t < NT; t++) {
        sum[t] += g0 * load<W>(from[t]);
        other[t] += g1 * load<W>(from[t] + step[t]);
        from[t] += 2 * step[t];
      }
    }
    if (p < pixels) {
      const Vec<T, W> g0 = load<W>(at);
      sum[NT] += g0;
#pragma GCC unroll 4
      for (int t = 0; t < NT; t++) sum[t] += g0 * load<W>(from[t]);
    }
    if (total) store(total + i, load<W>(total + i) + sum[NT] + other[NT]);
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
      T* product = terms.product[first + t] + i;
      store(product, load<W>(product) + sum[t] + other[t]);
    }
  }
}

template <typename T>
void sums_edge(int64_t pixels, int64_t c, const T* g, int64_t g_pixel, T* total, const Terms<T>& terms) {
  size_t first = 0;
  do {
    const size_t count = std::min<size_t>(4, terms.from.size() - first);
    auto* run = by_width<T>(c, [&](auto width) {
      constexpr int64_t W = decltype(width)::bytes;
      return count == 4   ? sums_block<T, 4, W>
             : count == 3 ? sums_block<T, 3, W>
             : count == 2 ? sums_block<T, 2, W>
             : count == 1 ? sums_block<T, 1, W>
                          : sums_block<T, 0, W>;
    });
    run(pixels, c, g, g_pixel, total, terms, first);
    first += count;
    total = nullptr;
  } while (first < terms.from.size());
}

// Whether each matrix [J, C, C] has a number other than 0: those of edges without a candidate that
// folds have none, and cost nothing.
template <typename T>
std::vector<bool> used(const T* matrices, int64_t edges, int64_t c) {
  std::vector<bool> found;
  for (int64_t j = 0; j < edges; j++, matrices += c * c)
    found.push_back(std::any_of(matrices, matrices + c * c, [](T value) { return value != T(0); }));
  return found;
}

// outs[j] = sum over terms t of edge j of scales[t] * terms[t] + shifts[j]
//           + relu(x) matrices[j]', added to what outs[j] holds where accumulate[j]. Terms are images one
// after another (see each_image) and seeds of noise, [] in int64.
void mix(TensorList outs, at::IntArrayRef accumulate, TensorList terms, at::IntArrayRef edge_of, const Tensor& scales_,
         const optional<Tensor>& shifts_, const optional<Tensor>& x, const optional<Tensor>& matrices_) {
  const Tensor scales = whole(scales_);
  const auto shifts = whole(shifts_), matrices = whole(matrices_);
  const Image shape = shape_of(outs[0]);
  const int64_t c = shape.c, size = shape.h * shape.w;
  over_real(outs[0], [&](auto real) {
    using T = decltype(real);
    const T* s = scales.const_data_ptr<T>();
    const T* b = shifts ? shifts->const_data_ptr<T>() : nullptr;
    std::vector<bool> folds(outs.size(), false);
    std::vector<Buffer<T>> right;
    if (matrices) {
      folds = used(matrices->const_data_ptr<T>(), outs.size(), c);
      for (size_t j = 0; j < outs.size(); j++)
        right.push_back(transposed(matrices->const_data_ptr<T>() + j * c * c, c, c));
    }
    std::vector<Terms<T>> given = terms_of<T>(terms, edge_of, outs.size(), c);
    for (size_t t = 0; t < edge_of.size(); t++) given[edge_of[t]].scale.push_back(s + t * c);
    std::vector<T*> to;
    std::vector<int64_t> to_pixel;
    for (const Tensor& t : outs) {
      to.push_back(t.mutable_data_ptr<T>());
      to_pixel.push_back(shape_of(t).pixel);
    }
    const T* xs = x ? x->const_data_ptr<T>() : nullptr;
    const int64_t block = block_of(given, c);
    const int64_t blocks = (size + block - 1) / block;
    at::parallel_for(0, shape.n * blocks, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(matrices ? block * c : 0);
      std::vector<Terms<T>> of = given;
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task / blocks * size + task % blocks * block;
        const int64_t pixels = std::min(block, size - task % blocks * block);
        if (matrices) activate<T>(xs + first * c, pixels, c, nullptr, nullptr, active.data());
        for (size_t j = 0; j < outs.size(); j++) {
          T* out = to[j] + first * to_pixel[j];
          of[j].go_to(first, pixels, c);
          mix_edge<T>(pixels, c, out, to_pixel[j], accumulate[j], b ? b + j * c : nullptr, of[j]);
          if (folds[j]) gemm<T>(pixels, c, c, active.data(), c, right[j].data(), out, to_pixel[j], true);
        }
      }
    });
  });
}

// The gradient of a y [N, h, w, C] that E edges share: sum over edges of a[e] g[e] + b[e] y + c[e], with
// `coefficients` [3, E, C] of a, b and c.
Tensor shared_gradient(TensorList g, const Tensor& y, const Tensor& coefficients) {
  const int64_t c = y.size(3), edges = coefficients.size(1);
  const Tensor scales = at::empty({edges + 1, c}, y.options()), shift = at::empty({1, c}, y.options());
  over_real(y, [&](auto real) {
    using T = decltype(real);
    const Buffer<T> given = numbers<T>(coefficients);
    T *scale = scales.mutable_data_ptr<T>(), *plus = shift.mutable_data_ptr<T>();
    for (int64_t i = 0; i < c; i++) {
      double of_y = 0, constant = 0;
      for (int64_t e = 0; e < edges; e++) {
        const T* at = given.data() + e * c + i;
        scale[e * c + i] = at[0];
        of_y += at[edges * c];
        constant += at[2 * edges * c];
      }
      scale[edges * c + i] = T(of_y);
      plus[i] = T(constant);
    }
  });
  std::vector<Tensor> terms(g.begin(), g.end());
  terms.push_back(y);
  Tensor out = fresh({y.size(0), y.size(1), y.size(2), c}, y);
  mix({out}, {0}, terms, std::vector<int64_t>(edges + 1, 0), scales, shift, at::nullopt, at::nullopt);
  return out;
}

// The gradients of mix for its scales, shifts and matrices: sums over pixels of g[j] terms[t],
// [T, C]; of g[j], [J, C]; and g[j]' relu(x), [J, C, C]. Sums are in float64.
std::tuple<Tensor, Tensor, Tensor> mix_sums(TensorList g, TensorList terms, at::IntArrayRef edge_of,
                                            const optional<Tensor>& x) {
  const Image shape = shape_of(g[0]);
  const int64_t c = shape.c, size = shape.h * shape.w;
  const int64_t count = edge_of.size(), edges = g.size();
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> products(threads, std::vector<double>(count * c, 0.0)),
      plain(threads, std::vector<double>(edges * c, 0.0)),
      matrices(threads, std::vector<double>(x ? edges * c * c : 0, 0.0));
  over_real(g[0], [&](auto real) {
    using T = decltype(real);
    std::vector<const T*> gs;
    std::vector<int64_t> g_pixel;
    for (const Tensor& t : g) {
      gs.push_back(t.const_data_ptr<T>());
      g_pixel.push_back(shape_of(t).pixel);
    }
    const std::vector<Terms<T>> given = terms_of<T>(terms, edge_of, edges, c);
    const T* xs = x ? x->const_data_ptr<T>() : nullptr;
    const int64_t block = block_of(given, c);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      const int me = at::get_thread_num();
      Buffer<T> active(x ? block * c : 0), part_t(count * c), part_g(edges * c);
      Buffer<T> part_m(x ? edges * c * c : 0);
      std::vector<Terms<T>> of = given;
      for (int64_t t = 0; t < count; t++) of[edge_of[t]].product.push_back(part_t.data() + t * c);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part_t.begin(), part_t.end(), T(0));
        std::fill(part_g.begin(), part_g.end(), T(0));
        std::fill(part_m.begin(), part_m.end(), T(0));
        for (int64_t top = 0; top < size; top += block) {
          const int64_t first = n * size + top, pixels = std::min(block, size - top);
          if (x) activate<T>(xs + first * c, pixels, c, nullptr, nullptr, active.data());
          for (int64_t j = 0; j < edges; j++) {
            const T* at = gs[j] + first * g_pixel[j];
            of[j].go_to(first, pixels, c);
            sums_edge<T>(pixels, c, at, g_pixel[j], part_g.data() + j * c, of[j]);
            if (x) gram<T>(pixels, at, g_pixel[j], c, active.data(), c, c, part_m.data() + j * c * c);
          }
        }
        add_to(products[me].data(), part_t.data(), count * c);
        add_to(plain[me].data(), part_g.data(), edges * c);
        if (x) add_to(matrices[me].data(), part_m.data(), edges * c * c);
      }
    });
  });
  return {reduced(products, {count, c}, g[0], true), reduced(plain, {edges, c}, g[0], true),
          x ? reduced(matrices, {edges, c, c}, g[0], true) : nothing(g[0])};
}

// Mean [C] and covariance [C, C] over pixels of x or, `active`, of relu(x), in float64.
std::tuple<Tensor, Tensor> covariance(const Tensor& x, bool active) {
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const Image shape = shape_of(x);
  const int64_t c = shape.c, size = shape.h * shape.w, count = shape.n * size;
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> total(threads, std::vector<double>(c, 0.0)),
      products(threads, std::vector<double>(c * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const int64_t block = block_of(c);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      const int me = at::get_thread_num();
      Buffer<T> relus(active ? block * c : 0), part(c), part_m(c * c);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part.begin(), part.end(), T(0));
        std::fill(part_m.begin(), part_m.end(), T(0));
        for (int64_t top = 0; top < size; top += block) {
          const int64_t first = (n * size + top) * c, pixels = std::min(block, size - top);
          const T* values = xs + first;
          if (active) {
            activate<T>(values, pixels, c, nullptr, nullptr, relus.data());
            values = relus.data();
          }
          sums<T>(pixels, c, values, c, values, c, part.data(), nullptr);
          gram<T>(pixels, values, c, c, values, c, c, part_m.data());
        }
        add_to(total[me].data(), part.data(), c);
        add_to(products[me].data(), part_m.data(), c * c);
      }
    });
  });
  Tensor mean = reduced(total, {c}, x, true), product = reduced(products, {c, c}, x, true);
  double* m = mean.mutable_data_ptr<double>();
  double* s = product.mutable_data_ptr<double>();
  for (int64_t i = 0; i < c; i++) m[i] /= count;
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < c; j++) s[i * c + j] = s[i * c + j] / count - m[i] * m[j];
  return {mean, product};
}

// Mean and biased variance of y's channels, [2, C], in float64.
Tensor moments(const Tensor& y) {
  const Image shape = shape_of(y);
  const int64_t c = shape.c, size = shape.h * shape.w;
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> total(threads, std::vector<double>(2 * c, 0.0));
  over_real(y, [&](auto real) {
    using T = decltype(real);
    const T* ys = y.const_data_ptr<T>();
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> part(2 * c);
      const int64_t block = block_of(c);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t top = 0; top < size; top += block) {
          const T* at = ys + (n * size + top) * shape.pixel;
          sums<T>(std::min(block, size - top), c, at, shape.pixel, at, shape.pixel, part.data(),
                  part.data() + c);
        }
        add_to(total[at::get_thread_num()].data(), part.data(), 2 * c);
      }
    });
  });
  return moments_of(total, {2, c}, shape.n * size, y);
}

// dx = sum_j skips[j] g[j] + [x > 0] * (dr + sum_j g[j] left[j] + relu(x) right + row), where each
// part may be missing; skips is [J], left [J, C, C], right [C, C], row [C].
void input_grad(const Tensor& x, TensorList g, const optional<Tensor>& skips_, const optional<Tensor>& dr,
                  const optional<Tensor>& left_, const optional<Tensor>& right_,
                  const optional<Tensor>& row_, Tensor dx) {
  const auto skips = whole(skips_), left = whole(left_), right = whole(right_), row = whole(row_);
  TORCH_CHECK(!dr || dr->is_contiguous(), "dr must be contiguous");
  const Image shape = shape_of(x);
  const int64_t c = shape.c, size = shape.h * shape.w;
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    T* out = dx.mutable_data_ptr<T>();
    std::vector<const T*> gs;
    std::vector<int64_t> g_pixel;
    for (const Tensor& t : g) {
      gs.push_back(t.const_data_ptr<T>());
      g_pixel.push_back(shape_of(t).pixel);
    }
    const T* scale = skips ? skips->const_data_ptr<T>() : nullptr;
    const T* drs = dr ? dr->const_data_ptr<T>() : nullptr;
    const T* lefts = left ? left->const_data_ptr<T>() : nullptr;
    const std::vector<bool> folds =
        left ? used(lefts, gs.size(), c) : std::vector<bool>(gs.size(), false);
    const T* rights = right ? right->const_data_ptr<T>() : nullptr;
    const T* rows = row ? row->const_data_ptr<T>() : nullptr;
    const int64_t block = block_of(c), blocks = (size + block - 1) / block;
    at::parallel_for(0, shape.n * blocks, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(block * c), sum(block * c);
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task / blocks * size + task % blocks * block;
        const int64_t pixels = std::min(block, size - task % blocks * block);
        by_width<T>(c, [&](auto width) {
          constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
          for (int64_t i = 0; i < c; i += L) {
            const auto row = rows ? load<W>(rows + i) : Vec<T, W>{};
            for (int64_t at = i; at < pixels * c; at += c)
              store(&sum[at], drs ? row + load<W>(drs + first * c + at) : row);
          }
        });
        for (size_t j = 0; j < gs.size(); j++)
          if (folds[j])
            gemm<T>(pixels, c, c, gs[j] + first * g_pixel[j], g_pixel[j], lefts + j * c * c, sum.data(), c,
                    true);
        if (rights) {
          activate<T>(xs + first * c, pixels, c, nullptr, nullptr, active.data());
          gemm<T>(pixels, c, c, active.data(), c, rights, sum.data(), c, true);
        }
        T* to = out + first * c;
        by_width<T>(c, [&](auto width) {
          constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
          for (int64_t i = 0; i < pixels * c; i += L) {
            const auto v = load<W>(xs + first * c + i);
            store(to + i, v <= Vec<T, W>{} ? Vec<T, W>{} : load<W>(&sum[i]));
          }
          for (size_t j = 0; scale && j < gs.size(); j++) {
            if (scale[j] == T(0)) continue;
            const T* from = gs[j] + first * g_pixel[j];
            for (int64_t i = 0; i < c; i += L)
              for (int64_t p = 0; p < pixels; p++) {
                T* at = to + p * c + i;
                store(at, load<W>(at) + fill<W>(scale[j]) * load<W>(from + p * g_pixel[j] + i));
              }
          }
        });
      }
    });
  });
}

}  // namespace
