// Batch norm of many edges, from moments that are known.

#include "tensors.h"

namespace {

// What a batch norm of E edges makes of y: mean, 1 / sqrt(var + eps), scale and shift of each
// channel, into the rows from `first` on of `result`, [4, rows, C] in float64. `batch` takes the
// moments [E or 1, 2, C] of y's `count` pixels, and moves the running statistics of the `chosen`
// rows; else these are taken.
void normalise(const Tensor& moments_, int64_t count, const optional<Tensor>& running_mean,
               const optional<Tensor>& running_var, const optional<Tensor>& weight_,
               const optional<Tensor>& bias_, double momentum, double eps, bool batch,
               at::IntArrayRef chosen, Tensor& result, int64_t first) {
  const auto weight = whole(weight_), bias = whole(bias_);
  const Tensor moments = whole(moments_);
  const int64_t c = result.size(2), edges = chosen.size(), all = result.size(1) * c;
  TORCH_CHECK(moments.dim() == 3 && moments.size(1) == 2 && moments.size(2) == c &&
                  (moments.size(0) == 1 || moments.size(0) == edges),
              "the moments must be [", edges, ", 2, ", c, "], but are ", moments.sizes());
  double* out = result.mutable_data_ptr<double>() + first * c;
  const double* given = moments.const_data_ptr<double>();
  const int64_t hop = moments.size(0) == 1 ? 0 : 2 * c;
  auto run = [&](auto real) {
    using T = decltype(real);
    T* means = running_mean ? running_mean->mutable_data_ptr<T>() : nullptr;
    T* vars = running_var ? running_var->mutable_data_ptr<T>() : nullptr;
    const T* gamma = weight ? weight->const_data_ptr<T>() : nullptr;
    const T* beta = bias ? bias->const_data_ptr<T>() : nullptr;
    for (int64_t e = 0; e < edges; e++)
      for (int64_t i = 0; i < c; i++) {
        const int64_t at = chosen[e] * c + i;
        double mean, var;
        if (batch) {
          mean = given[e * hop + i];
          var = given[e * hop + c + i];
          if (means) {
            means[at] = T(means[at] + momentum * (mean - means[at]));
            vars[at] = T(vars[at] + momentum * (var * count / (count - 1) - vars[at]));
          }
        } else {
          mean = means[at];
          var = vars[at];
        }
        const double inverse = 1 / std::sqrt(var + eps);
        const double scale = gamma ? inverse * gamma[e * c + i] : inverse;
        out[e * c + i] = mean;
        out[all + e * c + i] = inverse;
        out[2 * all + e * c + i] = scale;
        out[3 * all + e * c + i] = (beta ? beta[e * c + i] : 0.0) - mean * scale;
      }
  };
  const Tensor* typed = running_mean ? &*running_mean : weight ? &*weight : nullptr;
  if (typed) over_real(*typed, run);
  else run(double());
}

Tensor batch_norm(const Tensor& moments, int64_t count, const optional<Tensor>& running_mean,
                  const optional<Tensor>& running_var, const optional<Tensor>& weight,
                  const optional<Tensor>& bias, double momentum, double eps, bool batch,
                  at::IntArrayRef chosen) {
  Tensor result = at::empty({4, int64_t(chosen.size()), moments.size(2)}, moments.options());
  normalise(moments, count, running_mean, running_var, weight, bias, momentum, eps, batch, chosen, result, 0);
  return result;
}

// Backward of a batch norm [4, E, C], from the sums over pixels of G and of G y, [E, C]: G is the
// gradient of its result. `batch`, or where it is given `by_edge` [E], says whether the statistics
// are those of y's `count` pixels. With `beta` [E] the result is multiplied by it, and the sums are
// those of the product's gradient. Returns [3, E, C] of a, b, c with y's gradient a G + b y + c (a
// times beta, for the product's gradient), the gradients of weight and bias [E, C], and that of beta
// [E], all in float64.
std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_backward(
    const Tensor& norm_, bool batch, const optional<Tensor>& by_edge_, int64_t count, const Tensor& total_,
    const Tensor& product_, const optional<Tensor>& beta_) {
  const Tensor norm = whole(norm_);
  const Buffer<double> total = numbers<double>(total_), product = numbers<double>(product_);
  const auto by_edge = whole(by_edge_), beta = whole(beta_);
  const int64_t edges = norm.size(1), c = norm.size(2), all = edges * c;
  Tensor found = at::empty({3, edges, c}, norm.options()), weight = at::empty({edges, c}, norm.options());
  Tensor bias = at::empty({edges, c}, norm.options());
  Tensor betas = beta ? at::zeros({edges}, norm.options()) : nothing(norm);
  const double *mean = norm.const_data_ptr<double>(), *inverse = mean + all, *scale = inverse + all,
               *shift = scale + all, *sums = total.data(), *products = product.data();
  const double* factors = beta ? beta->const_data_ptr<double>() : nullptr;
  const double* flags = by_edge ? by_edge->const_data_ptr<double>() : nullptr;
  double *a = found.mutable_data_ptr<double>(), *w = weight.mutable_data_ptr<double>(),
         *b = bias.mutable_data_ptr<double>(), *to = betas.mutable_data_ptr<double>();
  for (int64_t e = 0; e < edges; e++) {
    const double factor = factors ? factors[e] : 1;
    const double share = (flags ? flags[e] : double(batch)) / count;
    for (int64_t i = e * c; i < (e + 1) * c; i++) {
      if (factors) to[e] += scale[i] * products[i] + shift[i] * sums[i];
      b[i] = factor * sums[i];
      w[i] = inverse[i] * factor * (products[i] - mean[i] * sums[i]);
      const double part = scale[i] * share, slope = part * inverse[i] * w[i];
      a[i] = factor * scale[i];
      a[all + i] = -slope;
      a[2 * all + i] = mean[i] * slope - part * b[i];
    }
  }
  return {found, weight, bias, betas};
}

// The batch norms of a mixture's rows, one after another, [4, R, O]; of each row its mixing weight
// beta, [R], and its scale times beta, [R, O]; of each of J edges the sum of its rows' shifts times
// beta, [J, O]: these two in the type of `like`. Candidates have `forms`, two numbers each: how many
// rows, and the sum of those of what it has: 1 a batch norm, 2 running statistics, 4 weight and bias,
// 8 the statistics of the batch. The other lists hold what those have that have it; `numbers` are
// momentum and eps.
std::tuple<Tensor, Tensor, Tensor, Tensor> mixture(
    TensorList moments, TensorList running, TensorList affine, at::IntArrayRef chosen, at::IntArrayRef forms,
    at::ArrayRef<double> numbers, int64_t count, const Tensor& betas, const Tensor& places,
    const Tensor& edges_, int64_t num_edges, int64_t c, const Tensor& like) {
  const Tensor edges = whole(edges_), beta = betas.to(at::kDouble).index_select(0, places);
  const int64_t rows = edges.size(0);
  Tensor norm = at::empty({4, rows, c}, beta.options());
  size_t moment = 0, moved = 0, learned = 0, chosen_at = 0;
  int64_t first = 0;
  for (size_t i = 0; i < forms.size(); i += 2) {
    const int64_t count_of = forms[i], form = forms[i + 1];
    if (form & 1) {
      optional<Tensor> mean, var, weight, bias;
      if (form & 2) mean = running[moved], var = running[moved + 1], moved += 2;
      if (form & 4) weight = affine[learned], bias = affine[learned + 1], learned += 2;
      normalise(moments[moment], count, mean, var, weight, bias, numbers[2 * moment], numbers[2 * moment + 1],
                form & 8, chosen.slice(chosen_at, count_of), norm, first);
      chosen_at += count_of;
      moment++;
    } else {
      double* out = norm.mutable_data_ptr<double>() + first * c;
      for (int64_t k = 0; k < 4; k++)
        std::fill_n(out + k * rows * c, count_of * c, k == 1 || k == 2 ? 1.0 : 0.0);
    }
    first += count_of;
  }
  Tensor scale = at::empty({rows, c}, like.options()), shift = at::empty({num_edges, c}, like.options());
  std::vector<double> shifts(num_edges * c, 0.0);
  const double *scales = norm.const_data_ptr<double>() + 2 * rows * c, *each = scales + rows * c,
               *factors = beta.const_data_ptr<double>();
  const int64_t* at = edges.const_data_ptr<int64_t>();
  over_real(like, [&](auto real) {
    using T = decltype(real);
    T *to = scale.mutable_data_ptr<T>(), *sums = shift.mutable_data_ptr<T>();
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < c; i++) {
        to[r * c + i] = T(factors[r] * scales[r * c + i]);
        shifts[at[r] * c + i] += factors[r] * each[r * c + i];
      }
    for (size_t i = 0; i < shifts.size(); i++) sums[i] = T(shifts[i]);
  });
  return {norm, beta, scale, shift};
}

// Backward of a mixture's batch norms and mixing weights: `batch_norm_backward` of its rows, from
// the sums over pixels of the gradient of each edge's result, [J, O], and of that times y, [R, O]. The
// last result is the gradient of `betas`, in their type.
std::tuple<Tensor, Tensor, Tensor, Tensor> mixture_backward(
    const Tensor& norm, bool batch, const optional<Tensor>& by_edge, int64_t count, const Tensor& totals,
    const Tensor& product, const Tensor& beta, const Tensor& edges, const Tensor& places, const Tensor& betas) {
  auto [found, weight, bias, each] =
      batch_norm_backward(norm, batch, by_edge, count, totals.index_select(0, edges), product, beta);
  Tensor sums = at::zeros(betas.sizes(), each.options());
  return {found, weight, bias, sums.index_add_(0, places, each).to(betas.scalar_type())};
}

}  // namespace
