// A batch norm by its running statistics, as a scale and a shift.

#pragma once

#include "tensors.h"

namespace {

// Of weight, bias, mean and variance, [rows] each; zeros behind them until there are `channels`.
template <typename T>
struct Folded {
  Buffer<T> scale, shift;
  Folded(TensorList norm, double eps, int64_t rows, int64_t channels) : scale(channels, T(0)), shift(channels, T(0)) {
    TORCH_CHECK(norm.size() == 4, "a batch norm has weight, bias, mean and variance");
    TORCH_CHECK(rows <= channels, "a batch norm has more channels than what it normalises");
    for (const Tensor& t : norm)
      TORCH_CHECK(t.numel() == rows, "a batch norm has ", t.numel(), " channels, but its input ", rows);
    const Tensor weight = whole(norm[0]), bias = whole(norm[1]), mean = whole(norm[2]), var = whole(norm[3]);
    const T *w = weight.const_data_ptr<T>(), *b = bias.const_data_ptr<T>(), *m = mean.const_data_ptr<T>(),
            *v = var.const_data_ptr<T>();
    for (int64_t i = 0; i < rows; i++) {
      const double factor = w[i] / std::sqrt(v[i] + eps);
      scale[i] = T(factor);
      shift[i] = T(b[i] - m[i] * factor);
    }
  }

  // out (+)= scale * y + shift of pixels [C] one after another; y may be out. Scaled weights would round
  // once more, and a product added to what is there once for each term of its sum.
  void put(const T* y, int64_t pixels, T* out, bool accumulate) const {
    const int64_t c = scale.size();
    by_width<T>(c, [&](auto width) {
      constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
      for (int64_t j = 0; j < c; j += L) {
        const auto a = load<W>(&scale[j]), b = load<W>(&shift[j]);
        if (accumulate)
          for (int64_t i = j; i < pixels * c; i += c) store(out + i, load<W>(out + i) + (load<W>(y + i) * a + b));
        else
          for (int64_t i = j; i < pixels * c; i += c) store(out + i, load<W>(y + i) * a + b);
      }
    });
  }
};

}  // namespace
