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

}  // namespace
