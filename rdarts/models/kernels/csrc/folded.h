// A batch norm by its running statistics, as a scale and a shift.

#pragma once

#include "tensors.h"

namespace {

// Of weight, bias, mean and variance, [C] each; zeros behind them until there are `channels`.
template <typename T>
struct Folded {
  Buffer<T> scale, shift;
  Folded(TensorList norm, double eps, int64_t channels) : scale(channels, T(0)), shift(channels, T(0)) {
    TORCH_CHECK(norm.size() == 4, "a batch norm has weight, bias, mean and variance");
    const Tensor weight = whole(norm[0]), bias = whole(norm[1]), mean = whole(norm[2]), var = whole(norm[3]);
    TORCH_CHECK(weight.numel() <= channels, "a batch norm has more channels than what it normalises");
    const T *w = weight.const_data_ptr<T>(), *b = bias.const_data_ptr<T>(), *m = mean.const_data_ptr<T>(),
            *v = var.const_data_ptr<T>();
    for (int64_t i = 0; i < weight.numel(); i++) {
      const double factor = w[i] / std::sqrt(v[i] + eps);
      scale[i] = T(factor);
      shift[i] = T(b[i] - m[i] * factor);
    }
  }
};

}  // namespace
