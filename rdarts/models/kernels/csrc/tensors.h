// Tensors as the kernels take and make them: images [N, H, W, C], sums over threads, memory.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>

#include "depthwise.h"
#include "memory.h"

namespace {

using at::Tensor;
using at::TensorList;
using std::optional;

Tensor fresh(at::IntArrayRef sizes, const Tensor& like) {
  std::vector<int64_t> strides(sizes.size(), 1);
  for (int64_t i = int64_t(sizes.size()) - 2; i >= 0; i--) strides[i] = strides[i + 1] * sizes[i + 1];
  return pool().take(sizes, strides, like.options());
}

struct Image {  // a view [N, H, W, C] whose pixels are `pixel` elements apart
  int64_t n, h, w, c, pixel;
};

// Small tensors, which may be views.
Tensor whole(const Tensor& t) { return t.contiguous(); }
optional<Tensor> whole(const optional<Tensor>& t) {
  return t ? optional<Tensor>(t->contiguous()) : t;
}

// Vectors of float32 hold 8 channels: beyond others lies somebody else's memory.
constexpr int64_t kLanes = 8;
inline void check_channels(int64_t channels) {
  TORCH_CHECK(channels % kLanes == 0, channels, " channels are no multiple of ", kLanes);
}

// What is not asked for: an operator's results are tensors, always.
Tensor nothing(const Tensor& like) { return at::empty({0}, like.options()); }

// Of the last four dimensions.
Image last_of(const Tensor& t) {
  const int64_t first = t.dim() - 4;
  const int64_t *size = t.sizes().data() + first, *stride = t.strides().data() + first;
  TORCH_CHECK(stride[3] == 1, "an image tensor must be [N, H, W, C]");
  const int64_t pixel = stride[2];
  TORCH_CHECK((size[1] == 1 || stride[1] == pixel * size[2]) &&
                  (size[0] == 1 || stride[0] == pixel * size[2] * size[1]),
              "an image tensor's pixels must be equally far apart");
  check_channels(size[3]);
  return {size[0], size[1], size[2], size[3], pixel};
}
Image shape_of(const Tensor& t) {
  TORCH_CHECK(t.dim() == 4, "an image tensor must be [N, H, W, C]");
  return last_of(t);
}

// f(where it starts, how far apart its pixels are) for each image of a list: tensors [N, H, W, C], or
// [E, N, H, W, C] of E images one after another.
template <typename T, typename F>
void each_image(TensorList images, F&& f) {
  for (const Tensor& t : images) {
    TORCH_CHECK(t.dim() == 4 || t.dim() == 5, "images must be [N, H, W, C] or [E, N, H, W, C]");
    const int64_t pixel = last_of(t).pixel;
    const T* data = t.const_data_ptr<T>();
    if (t.dim() == 4) f(data, pixel);
    else
      for (int64_t e = 0; e < t.size(0); e++) f(data + e * t.stride(0), pixel);
  }
}

template <typename T>
Buffer<T> transposed(const T* w, int64_t rows, int64_t columns, bool reversed = false) {
  Buffer<T> result(rows * columns);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++)
      result[(reversed ? columns - 1 - c : c) * rows + r] = w[r * columns + c];
  return result;
}

// Pixels whose channels stay in the first cache.
int64_t block_of(int64_t channels) { return std::max<int64_t>(8, 1024 / channels); }

template <typename F>
void over_real(const Tensor& like, F&& f) {
  if (like.scalar_type() == at::kFloat) f(float());
  else if (like.scalar_type() == at::kDouble) f(double());
  else TORCH_CHECK(false, "float32 or float64 is needed, but it is ", like.scalar_type());
}

// relu(scale * in + shift), or relu(in) without a scale, of pixels one after another.
template <typename T>
void activate(const T* in, int64_t pixels, int64_t c, const T* scale, const T* shift, T* out) {
  if (scale == nullptr) {
    by_width<T>(pixels * c, [&](auto width) {
      constexpr int64_t W = decltype(width)::bytes, L = Lanes<T, W>::count;
      for (int64_t i = 0; i < pixels * c; i += L) store(out + i, relu<T>(load<W>(in + i)));
    });
    return;
  }
  by_channels<T>(c, [&](auto channels) {
    using C = decltype(channels);
    constexpr int64_t W = C::bytes, L = Lanes<T, W>::count;
    const int64_t step = C::or_any(c);
    for (int64_t j = 0; j < step; j += L) {
      const auto a = load<W>(scale + j), b = load<W>(shift + j);
      for (int64_t i = j; i < pixels * step; i += step) store(out + i, relu<T>(load<W>(in + i) * a + b));
    }
  });
}

// The numbers of a small tensor in order, which need not lie so, as T: at a fraction of the time that
// PyTorch's own copy takes of so few.
template <typename T>
Buffer<T> numbers(const Tensor& t) {
  Buffer<T> found(t.numel());
  const auto sizes = t.sizes(), strides = t.strides();
  over_real(t, [&](auto real) {
    const auto* from = t.const_data_ptr<decltype(real)>();
    std::vector<int64_t> at(sizes.size(), 0);
    for (T& to : found) {
      to = T(*from);
      for (int64_t d = int64_t(at.size()) - 1; d >= 0; d--) {
        from += strides[d];
        if (++at[d] < sizes[d]) break;
        from -= strides[d] * sizes[d];
        at[d] = 0;
      }
    }
  });
  return found;
}

template <typename T>
void add_to(double* total, const T* part, int64_t count) {
  for (int64_t i = 0; i < count; i++) total[i] += part[i];
}

Tensor reduced(const std::vector<std::vector<double>>& parts, at::IntArrayRef sizes, const Tensor& like,
               bool keep_double = false) {
  Tensor result = at::empty(sizes, keep_double ? like.options().dtype(at::kDouble) : like.options());
  over_real(result, [&](auto real) {
    using T = decltype(real);
    T* data = result.mutable_data_ptr<T>();
    for (int64_t i = 0; i < result.numel(); i++) {
      double sum = 0;
      for (const auto& part : parts) sum += part[i];
      data[i] = T(sum);
    }
  });
  return result;
}

// Mean and biased variance [E, 2, C] (float64) from the sums of y and y^2 over pixels.
Tensor moments_of(const std::vector<std::vector<double>>& parts, at::IntArrayRef sizes, int64_t pixels,
                  const Tensor& like) {
  Tensor result = reduced(parts, sizes, like, true);
  const int64_t c = sizes[sizes.size() - 1], edges = result.numel() / (2 * c);
  double* data = result.mutable_data_ptr<double>();
  for (int64_t e = 0; e < edges; e++)
    for (int64_t i = 0; i < c; i++) {
      double& mean = data[e * 2 * c + i];
      double& var = data[e * 2 * c + c + i];
      mean /= pixels;
      var = std::max(0.0, var / pixels - mean * mean);
    }
  return result;
}

}  // namespace
