// Batch norm of many edges, from moments that are known.

#include "tensors.h"

namespace {

// What a batch norm of E edges makes of y: mean, 1 / sqrt(var + eps), scale and shift of each
// channel, [4, E, C] in float64. `batch` takes the moments [E or 1, 2, C] of y's `count` pixels,
// and moves the running statistics of the `chosen` rows; else these are taken.
Tensor batch_norm(const Tensor& moments_, int64_t count, const optional<Tensor>& running_mean,
                  const optional<Tensor>& running_var, const optional<Tensor>& weight_,
                  const optional<Tensor>& bias_, double momentum, double eps, bool batch,
                  at::IntArrayRef chosen) {
  const auto weight = whole(weight_), bias = whole(bias_);
  const Tensor moments = whole(moments_);
  const int64_t c = moments.size(2), edges = chosen.size();
  Tensor result = at::empty({4, edges, c}, moments.options());
  double* out = result.mutable_data_ptr<double>();
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
        out[(edges + e) * c + i] = inverse;
        out[(2 * edges + e) * c + i] = scale;
        out[(3 * edges + e) * c + i] = (beta ? beta[e * c + i] : 0.0) - mean * scale;
      }
  };
  const Tensor* typed = running_mean ? &*running_mean : weight ? &*weight : nullptr;
  if (typed) over_real(*typed, run);
  else run(double());
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
  const Tensor norm = whole(norm_), total = whole(total_), product = whole(product_);
  const auto by_edge = whole(by_edge_), beta = whole(beta_);
  const int64_t edges = norm.size(1), c = norm.size(2), all = edges * c;
  Tensor found = at::empty({3, edges, c}, norm.options()), weight = at::empty({edges, c}, norm.options());
  Tensor bias = at::empty({edges, c}, norm.options());
  Tensor betas = beta ? at::zeros({edges}, norm.options()) : nothing(norm);
  const double *mean = norm.const_data_ptr<double>(), *inverse = mean + all, *scale = inverse + all,
               *shift = scale + all, *sums = total.const_data_ptr<double>(),
               *products = product.const_data_ptr<double>();
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

// The batch norms of a mixture's rows, one after another, [4, R, O]; and of each row its scale
// times beta, [R, O]; and of each of J edges the sum of its rows' shifts times beta, [J, O]: these
// two in the type of `like`.
std::tuple<Tensor, Tensor, Tensor> mixed_norms(TensorList norms, const Tensor& beta_, const Tensor& edges_,
                                               int64_t num_edges, const Tensor& like) {
  const Tensor beta = whole(beta_), edges = whole(edges_);
  const Tensor norm = norms.size() == 1 ? whole(norms[0]) : at::cat(norms, 1);
  const int64_t rows = norm.size(1), c = norm.size(2);
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
  return {norm, scale, shift};
}

}  // namespace
