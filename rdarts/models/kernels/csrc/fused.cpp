// Kernels of fused.py for CPUs, float32 and float64. Images are [N, H, W, C] in memory
// (channels_last), C a multiple of 8. Batch norm statistics need a pass over the whole batch, so
// each operator is what can be done between two of them while an image's rows are in the cache.
// kernels.py holds the same functions in PyTorch: they are the reference, and the fallback.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;
using at::TensorList;
using std::optional;

// Vectors of 32 bytes: GCC and Clang make AVX, NEON or whatever the machine has of them.
template <typename T>
struct Lanes {
  typedef T type __attribute__((vector_size(32)));
  typedef T memory __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
  static constexpr int64_t count = 32 / sizeof(T);
};
template <typename T>
using Vec = typename Lanes<T>::type;

template <typename T>
inline Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Lanes<T>::memory*>(p);
}
template <typename T>
inline void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Lanes<T>::memory*>(p) = v;
}
template <typename T>
inline Vec<T> fill(T value) {
  return value - Vec<T>{};  // unlike 0 + value, no arithmetic: -0 stays
}
template <typename T>
inline Vec<T> relu(Vec<T> v) {  // keeps NaN
  return v < Vec<T>{} ? Vec<T>{} : v;
}
template <typename T>
inline Vec<T> relu6(Vec<T> v) {
  const Vec<T> six = fill(T(6));
  return v > six ? six : relu<T>(v);
}

// Scratch memory whose vectors never cross a cache line.
template <typename T>
struct Aligned {
  using value_type = T;
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(64)));
  }
  void deallocate(T* data, size_t) { ::operator delete(data, std::align_val_t(64)); }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};
template <typename T>
using Buffer = std::vector<T, Aligned<T>>;

// Memory of large results is kept for the next step: a page of fresh memory costs more than the
// arithmetic on it. A block goes back when its tensor dies.
class Pool {
 public:
  Tensor take(at::IntArrayRef sizes, at::IntArrayRef strides, const at::TensorOptions& options) {
    int64_t bytes = options.dtype().itemsize();
    for (int64_t size : sizes) bytes *= size;
    if (bytes < kSmall) return at::empty_strided(sizes, strides, options);
    void* block = nullptr;
    {
      std::lock_guard<std::mutex> guard(mutex_);
      auto found = free_.lower_bound(bytes);
      if (found != free_.end() && found->first <= bytes + bytes / 4) {
        block = found->second;
        bytes = found->first;
        kept_ -= bytes;
        free_.erase(found);
      }
    }
    if (block == nullptr) {
      trim();
      block = ::operator new(bytes, std::align_val_t(64));
    }
    auto give_back = [this, bytes](void* data) {
      std::lock_guard<std::mutex> guard(mutex_);
      free_.emplace(bytes, data);
      kept_ += bytes;
    };
    return at::from_blob(block, sizes, strides, give_back, options);
  }

 private:
  static constexpr int64_t kSmall = 1 << 16;
  static constexpr int64_t kMost = int64_t(1) << 30;

  // Sizes change with the task: what is kept for another one must not pile up.
  void trim() {
    std::lock_guard<std::mutex> guard(mutex_);
    while (kept_ > kMost && !free_.empty()) {
      auto largest = std::prev(free_.end());
      kept_ -= largest->first;
      ::operator delete(largest->second, std::align_val_t(64));
      free_.erase(largest);
    }
  }

  std::mutex mutex_;
  std::multimap<int64_t, void*> free_;
  int64_t kept_ = 0;
};

Pool& pool() {
  static Pool* instance = new Pool;  // outlives every tensor
  return *instance;
}

Tensor fresh(at::IntArrayRef sizes, const Tensor& like) {
  std::vector<int64_t> strides(sizes.size(), 1);
  for (int64_t i = int64_t(sizes.size()) - 2; i >= 0; i--) strides[i] = strides[i + 1] * sizes[i + 1];
  return pool().take(sizes, strides, like.options());
}

// ---------------------------------------------------------------- small kernels

// Distances that the compiler knows are part of the instructions, others cost some: the usual
// numbers of channels C and strides S are template arguments, 0 for any other.

// c[i, :] (+)= sum_k a[i, k] b[k, :] for MR rows and NV vectors of columns.
template <typename T, int MR, int NV, int C>
inline void gemm_tile(const T* a, int64_t any_as, const T* b, int64_t any_bs, T* c, int64_t cs,
                      int64_t any_depth, bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  const int64_t as = C ? C : any_as, bs = C ? C : any_bs, depth = C ? C : any_depth;
  Vec<T> sum[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) sum[i][v] = accumulate ? load(c + i * cs + v * L) : Vec<T>{};
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; k++) {
    Vec<T> right[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) right[v] = load(b + k * bs + v * L);
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
      const Vec<T> left = fill(a[i * as + k]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) sum[i][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) store(c + i * cs + v * L, sum[i][v]);
}

template <typename T, int NV, int C>
inline void gemm_panel(int64_t rows, int64_t depth, const T* a, int64_t as, const T* b, int64_t bs, T* c,
                       int64_t cs, bool accumulate) {
  int64_t i = 0;
  while (i < rows) {
    const int64_t left = rows - i;
    const T* ai = a + i * as;
    T* ci = c + i * cs;
    if (left >= 6 && left != 8) {
      gemm_tile<T, 6, NV, C>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 6;
    } else if (left >= 4) {
      gemm_tile<T, 4, NV, C>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 4;
    } else {
      gemm_tile<T, 1, NV, C>(ai, as, b, bs, ci, cs, depth, accumulate);
      i += 1;
    }
  }
}

template <typename T, int C>
void gemm_of(int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t as, const T* b, T* c,
             int64_t cs, bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  int64_t j = 0;
  for (; j + 2 * L <= columns; j += 2 * L)
    gemm_panel<T, 2, C>(rows, depth, a, as, b + j, columns, c + j, cs, accumulate);
  for (; j < columns; j += L)
    gemm_panel<T, 1, C>(rows, depth, a, as, b + j, columns, c + j, cs, accumulate);
}

// c [rows, columns] (+)= a [rows, depth] b [depth, columns].
template <typename T>
void gemm(int64_t rows, int64_t columns, int64_t depth, const T* a, int64_t as, const T* b, T* c,
          int64_t cs, bool accumulate) {
  auto* run = gemm_of<T, 0>;
  if (as == depth && columns == depth) {
    if (depth == 16) run = gemm_of<T, 16>;
    if (depth == 32) run = gemm_of<T, 32>;
    if (depth == 64) run = gemm_of<T, 64>;
  }
  run(rows, columns, depth, a, as, b, c, cs, accumulate);
}

// MR rows and NV vectors of c [ca, cb] += sum_p a[p, :]' b[p, :].
template <typename T, int MR, int NV, int C>
inline void gram_tile(int64_t pixels, const T* a, int64_t any_as, const T* b, int64_t any_bs, T* c,
                      int64_t any_cs) {
  constexpr int64_t L = Lanes<T>::count;
  const int64_t as = C ? C : any_as, bs = C ? C : any_bs, cs = C ? C : any_cs;
  Vec<T> sum[MR][NV];
#pragma GCC unroll 4
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) sum[r][v] = load(c + r * cs + v * L);
#pragma GCC unroll 2
  for (int64_t p = 0; p < pixels; p++) {
    Vec<T> right[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) right[v] = load(b + p * bs + v * L);
#pragma GCC unroll 4
    for (int r = 0; r < MR; r++) {
      const Vec<T> left = fill(a[p * as + r]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) store(c + r * cs + v * L, sum[r][v]);
}

template <typename T, int C>
void gram_of(int64_t pixels, const T* a, int64_t as, int64_t ca, const T* b, int64_t bs, int64_t cb, T* c) {
  constexpr int64_t L = Lanes<T>::count;
  int64_t j = 0;
  for (; j + 2 * L <= cb; j += 2 * L)
    for (int64_t i = 0; i < ca; i += 4)
      gram_tile<T, 4, 2, C>(pixels, a + i, as, b + j, bs, c + i * cb + j, cb);
  for (; j < cb; j += L)
    for (int64_t i = 0; i < ca; i += 4)
      gram_tile<T, 4, 1, C>(pixels, a + i, as, b + j, bs, c + i * cb + j, cb);
}

// c [ca, cb] += sum_p a[p, :]' b[p, :].
template <typename T>
void gram(int64_t pixels, const T* a, int64_t as, int64_t ca, const T* b, int64_t bs, int64_t cb, T* c) {
  auto* run = gram_of<T, 0>;
  if (as == cb && bs == cb) {
    if (cb == 16) run = gram_of<T, 16>;
    if (cb == 32) run = gram_of<T, 32>;
    if (cb == 64) run = gram_of<T, 64>;
  }
  run(pixels, a, as, ca, b, bs, cb, c);
}

// One row of a depthwise convolution. `in` points at the first tap of the first output pixel in
// rows of `row` elements; w is [K * K, C].
template <typename T, int K, int C, int S>
void depthwise_row_of(const T* in, int64_t row, const T* w, T* out, int64_t pixels, int64_t any_channels,
                      int64_t any_stride, int64_t dilation, bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int TILE = 8;
  const int64_t channels = C ? C : any_channels;
  const int64_t step = (S ? S : any_stride) * channels, hop = dilation * channels;
  for (int64_t c = 0; c < channels; c += L) {
    int64_t x = 0;
    for (; x + TILE <= pixels; x += TILE) {
      Vec<T> sum[TILE];
      T* o = out + x * channels + c;
#pragma GCC unroll 8
      for (int t = 0; t < TILE; t++) sum[t] = accumulate ? load(o + t * channels) : Vec<T>{};
      const T* corner = in + x * step + c;
      const T* weights = w + c;
#pragma GCC unroll 1
      for (int ky = 0; ky < K; ky++) {
        const T* tap = corner + ky * dilation * row;
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) {
          const Vec<T> weight = load(weights + kx * channels);
#pragma GCC unroll 8
          for (int t = 0; t < TILE; t++) sum[t] += weight * load(tap + t * step);
          tap += hop;
        }
        weights += K * channels;
      }
#pragma GCC unroll 8
      for (int t = 0; t < TILE; t++) store(o + t * channels, sum[t]);
    }
    for (; x < pixels; x++) {
      T* o = out + x * channels + c;
      Vec<T> sum = accumulate ? load(o) : Vec<T>{};
      for (int ky = 0; ky < K; ky++)
        for (int kx = 0; kx < K; kx++)
          sum += load(w + (ky * K + kx) * channels + c) *
                 load(in + x * step + c + ky * dilation * row + kx * hop);
      store(o, sum);
    }
  }
}

// dw [K * K, C] += the depthwise weight gradient of an image. `g` has pixels `stride` pixels and
// rows `g_row` elements apart.
template <typename T, int K, int C, int S>
void depthwise_weight_grad_of(const T* in, int64_t row, const T* g, int64_t g_row, int64_t height,
                              int64_t width, int64_t any_channels, int64_t any_stride, int64_t dilation,
                              T* dw) {
  constexpr int64_t L = Lanes<T>::count;
  constexpr int ROWS = K == 3 ? 3 : (K == 5 ? 2 : 1);  // as many sums as registers hold
  const int64_t channels = C ? C : any_channels, stride = S ? S : any_stride;
  const int64_t step = stride * channels, hop = dilation * channels;
  for (int64_t c = 0; c < channels; c += L) {
    int ky = 0;
    auto rows = [&](auto count) {
      constexpr int R = decltype(count)::value;
      Vec<T> sum[R][K];
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) sum[r][kx] = Vec<T>{};
      for (int64_t y = 0; y < height; y++) {
        const T* gy = g + y * g_row + c;
        const T* iy = in + (y * stride + ky * dilation) * row + c;
        for (int64_t x = 0; x < width; x++) {
          const Vec<T> gv = load(gy + x * step);
#pragma GCC unroll 3
          for (int r = 0; r < R; r++)
#pragma GCC unroll 7
            for (int kx = 0; kx < K; kx++)
              sum[r][kx] += gv * load(iy + r * dilation * row + x * step + kx * hop);
        }
      }
#pragma GCC unroll 3
      for (int r = 0; r < R; r++)
#pragma GCC unroll 7
        for (int kx = 0; kx < K; kx++) {
          T* at = dw + ((ky + r) * K + kx) * channels + c;
          store(at, load(at) + sum[r][kx]);
        }
      ky += R;
    };
    while (ky + ROWS <= K) rows(std::integral_constant<int, ROWS>{});
    while (ky < K) rows(std::integral_constant<int, 1>{});
  }
}

template <typename T>
struct Depthwise {
  decltype(&depthwise_row_of<T, 3, 0, 0>) row;
  decltype(&depthwise_weight_grad_of<T, 3, 0, 0>) weight_grad;
};

template <typename T, int K, int C>
Depthwise<T> depthwise_of(int64_t stride) {
  if (stride == 1) return {depthwise_row_of<T, K, C, 1>, depthwise_weight_grad_of<T, K, C, 1>};
  return {depthwise_row_of<T, K, C, 0>, depthwise_weight_grad_of<T, K, C, 0>};
}

template <typename T, int K>
Depthwise<T> depthwise_of(int64_t channels, int64_t stride) {
  if (channels == 16) return depthwise_of<T, K, 16>(stride);
  if (channels == 32) return depthwise_of<T, K, 32>(stride);
  if (channels == 64) return depthwise_of<T, K, 64>(stride);
  return depthwise_of<T, K, 0>(stride);
}

template <typename T>
Depthwise<T> depthwise_kernels(int64_t k, int64_t channels, int64_t stride) {
  if (k == 3) return depthwise_of<T, 3>(channels, stride);
  if (k == 5) return depthwise_of<T, 5>(channels, stride);
  TORCH_CHECK(k == 7, "depthwise kernel size must be 3, 5 or 7, but is ", k);
  return depthwise_of<T, 7>(channels, stride);
}

// sum[c] += sum_p a[p, c], product[c] += sum_p a[p, c] b[p, c].
template <typename T>
inline void sums(int64_t pixels, int64_t channels, const T* a, int64_t as, const T* b, int64_t bs, T* sum,
                 T* product) {
  constexpr int64_t L = Lanes<T>::count;
  for (int64_t c = 0; c < channels; c += L) {
    Vec<T> s0{}, s1{}, p0{}, p1{};
    int64_t p = 0;
    for (; p + 2 <= pixels; p += 2) {
      const Vec<T> a0 = load(a + p * as + c), a1 = load(a + (p + 1) * as + c);
      s0 += a0;
      s1 += a1;
      p0 += a0 * load(b + p * bs + c);
      p1 += a1 * load(b + (p + 1) * bs + c);
    }
    for (; p < pixels; p++) {
      const Vec<T> a0 = load(a + p * as + c);
      s0 += a0;
      p0 += a0 * load(b + p * bs + c);
    }
    if (sum) store(sum + c, load(sum + c) + s0 + s1);
    if (product) store(product + c, load(product + c) + p0 + p1);
  }
}

// ---------------------------------------------------------------- helpers

struct Image {  // a view [N, H, W, C] whose pixels are `pixel` elements apart
  int64_t n, h, w, c, pixel;
};

// Small tensors, which may be views.
Tensor whole(const Tensor& t) { return t.contiguous(); }
optional<Tensor> whole(const optional<Tensor>& t) {
  return t ? optional<Tensor>(t->contiguous()) : t;
}

Image shape_of(const Tensor& t) {
  TORCH_CHECK(t.dim() == 4 && t.stride(3) == 1, "an image tensor must be [N, H, W, C]");
  const int64_t pixel = t.stride(2);
  TORCH_CHECK((t.size(1) == 1 || t.stride(1) == pixel * t.size(2)) &&
                  (t.size(0) == 1 || t.stride(0) == pixel * t.size(2) * t.size(1)),
              "an image tensor's pixels must be equally far apart");
  return {t.size(0), t.size(1), t.size(2), t.size(3), pixel};
}

template <typename T>
Buffer<T> transposed(const T* w, int64_t rows, int64_t columns, bool reversed = false) {
  Buffer<T> result(rows * columns);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++)
      result[(reversed ? columns - 1 - c : c) * rows + r] = w[r * columns + c];
  return result;
}

int64_t rows_at_once(int64_t width, int64_t channels) {
  return std::max<int64_t>(1, 2048 / (width * channels));
}

// Pixels whose channels stay in the first cache.
int64_t block_of(int64_t channels) { return std::max<int64_t>(8, 1024 / channels); }

template <typename F>
void over_real(const Tensor& like, F&& f) {
  if (like.scalar_type() == at::kFloat) f(float());
  else if (like.scalar_type() == at::kDouble) f(double());
  else TORCH_CHECK(false, "float32 or float64 is needed, but it is ", like.scalar_type());
}

// relu(scale * image + shift), or relu(image), into the interior of a padded image; with SIX relu6.
template <typename T, bool SIX = false>
void activate(const T* image, int64_t h, int64_t w, int64_t c, const T* scale, const T* shift, T* padded,
              int64_t pad) {
  constexpr int64_t L = Lanes<T>::count;
  const int64_t row = (w + 2 * pad) * c;
  for (int64_t y = 0; y < h; y++) {
    const T* from = image + y * w * c;
    T* to = padded + (y + pad) * row + pad * c;
    if (scale == nullptr) {
      for (int64_t i = 0; i < w * c; i += L) store(to + i, relu<T>(load(from + i)));
    } else {
      for (int64_t x = 0; x < w; x++)
        for (int64_t i = 0; i < c; i += L) {
          const Vec<T> v = load(from + x * c + i) * load(scale + i) + load(shift + i);
          store(to + x * c + i, SIX ? relu6<T>(v) : relu<T>(v));
        }
    }
  }
}

template <typename T>
void add_to(double* total, const T* part, int64_t count) {
  for (int64_t i = 0; i < count; i++) total[i] += part[i];
}

Tensor reduced(const std::vector<std::vector<double>>& parts, at::IntArrayRef sizes, const Tensor& like,
               bool keep_double = false) {
  Tensor result = at::zeros(sizes, like.options().dtype(at::kDouble));
  double* data = result.data_ptr<double>();
  for (const auto& part : parts)
    for (size_t i = 0; i < part.size(); i++) data[i] += part[i];
  return keep_double ? result : result.to(like.scalar_type());
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

// ---------------------------------------------------------------- batch norm

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

// ---------------------------------------------------------------- separable convolutions

// y[e] = pointwise[e](depthwise[e](relu(scale[e] x[e] + shift[e]))) for E edges, with the moments
// of y [E, 2, O]. x is [N, H, W, C], the same for all edges, or [E, N, H, W, C].
std::tuple<Tensor, Tensor> separable_forward(const Tensor& x, const optional<Tensor>& scale_,
                                             const optional<Tensor>& shift_, const Tensor& depthwise_,
                                             const Tensor& pointwise_, int64_t stride, int64_t padding,
                                             int64_t dilation) {
  const auto scale = whole(scale_), shift = whole(shift_);
  const Tensor depthwise = whole(depthwise_), pointwise = whole(pointwise_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const bool shared = x.dim() == 4;
  const int64_t edges = depthwise.size(0), k = depthwise.size(3), co = pointwise.size(1);
  const int64_t n = x.size(-4), h = x.size(-3), w = x.size(-2), c = x.size(-1);
  const int64_t oh = (h + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
  const int64_t ow = (w + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
  Tensor y = fresh({edges, n, oh, ow, co}, x);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(edges * 2 * co, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* scales = scale ? scale->const_data_ptr<T>() : nullptr;
    const T* shifts = shift ? shift->const_data_ptr<T>() : nullptr;
    T* ys = y.mutable_data_ptr<T>();
    std::vector<Buffer<T>> taps, points;
    for (int64_t e = 0; e < edges; e++) {
      taps.push_back(transposed(depthwise.const_data_ptr<T>() + e * c * k * k, c, k * k));
      points.push_back(transposed(pointwise.const_data_ptr<T>() + e * co * c, co, c));
    }
    const int64_t row = (w + 2 * padding) * c, block = rows_at_once(ow, std::max(c, co));
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride);
    {
      at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
        Buffer<T> padded((h + 2 * padding) * row, T(0)), features(block * ow * c), part(2 * co);
        double* total = totals[at::get_thread_num()].data();
        for (int64_t i = begin; i < end; i++) {
          for (int64_t e = 0; e < edges; e++) {
            if (!shared || e == 0)
              activate<T>(xs + ((shared ? 0 : e * n) + i) * h * w * c, h, w, c,
                          scales ? scales + e * c : nullptr, shifts ? shifts + e * c : nullptr,
                          padded.data(), padding);
            T* out = ys + (e * n + i) * oh * ow * co;
            std::fill(part.begin(), part.end(), T(0));
            for (int64_t top = 0; top < oh; top += block) {
              const int64_t rows = std::min(block, oh - top), pixels = rows * ow;
              for (int64_t r = 0; r < rows; r++)
                conv.row(padded.data() + (top + r) * stride * row, row, taps[e].data(),
                                    features.data() + r * ow * c, ow, c, stride, dilation, false);
              T* o = out + top * ow * co;
              gemm<T>(pixels, co, c, features.data(), c, points[e].data(), o, co, false);
              sums<T>(pixels, co, o, co, o, co, part.data(), part.data() + co);
            }
            add_to(total + e * 2 * co, part.data(), 2 * co);
          }
        }
      });
    }
  });
  return {y, moments_of(totals, {edges, 2, co}, n * oh * ow, x)};
}

// Backward of separable_forward and the batch norm after it. The gradient of y is
// coefficients[e, 0] g[e] + coefficients[e, 1] y[e] + coefficients[e, 2].
// x shared: the gradient of relu(x), over edges, is put or added into `into` [N, H, W, C]. x per edge:
// returns the gradient of scale x + shift, [E, N, H, W, C], and its sums and those of its
// product with x, [E, 2, C]. With `weights` the gradients of both convolutions are returned.
std::tuple<Tensor, Tensor, Tensor, Tensor> separable_backward(
    TensorList g, const Tensor& y, const Tensor& coefficients_, const Tensor& x,
    const optional<Tensor>& scale_, const optional<Tensor>& shift_, const Tensor& depthwise_,
    const Tensor& pointwise_, int64_t stride, int64_t padding, int64_t dilation,
    const optional<Tensor>& into, bool accumulate, bool weights) {
  const auto scale = whole(scale_), shift = whole(shift_);
  const Tensor depthwise = whole(depthwise_), pointwise = whole(pointwise_);
  const Tensor coefficients = whole(coefficients_);
  TORCH_CHECK(x.is_contiguous() && y.is_contiguous(), "x and y must be contiguous");
  const bool shared = x.dim() == 4;
  TORCH_CHECK(shared == into.has_value(), "`into` goes with an x that edges share");
  const int64_t edges = depthwise.size(0), k = depthwise.size(3), co = pointwise.size(1);
  const int64_t n = x.size(-4), h = x.size(-3), w = x.size(-2), c = x.size(-1);
  const int64_t oh = y.size(2), ow = y.size(3);
  const int64_t lead = dilation * (k - 1) - padding;
  const int threads = at::get_num_threads();
  Tensor dx = shared ? *into : fresh({edges, n, h, w, c}, x);
  Tensor d_depthwise, d_pointwise, dx_sums;
  std::vector<std::vector<double>> total_d, total_p, total_s;
  if (weights) {
    total_d.assign(threads, std::vector<double>(edges * k * k * c, 0.0));
    total_p.assign(threads, std::vector<double>(edges * co * c, 0.0));
  }
  if (!shared) total_s.assign(threads, std::vector<double>(edges * 2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    const T* scales = scale ? scale->const_data_ptr<T>() : nullptr;
    const T* shifts = shift ? shift->const_data_ptr<T>() : nullptr;
    const T* points = pointwise.const_data_ptr<T>();
    T* dxs = dx.mutable_data_ptr<T>();
    std::vector<const T*> gs;
    std::vector<int64_t> g_pixel;
    for (const Tensor& one : g) {
      gs.push_back(one.const_data_ptr<T>());
      g_pixel.push_back(shape_of(one).pixel);
    }
    std::vector<Buffer<T>> taps, flipped;
    for (int64_t e = 0; e < edges; e++) {
      const T* d = depthwise.const_data_ptr<T>() + e * c * k * k;
      taps.push_back(transposed(d, c, k * k));
      flipped.push_back(transposed(d, c, k * k, true));
    }
    const int64_t row = (w + 2 * padding) * c, block = rows_at_once(ow, std::max(c, co));
    // The features' gradient, zeros between its pixels where the stride is 2, and around.
    const int64_t u_w = w + dilation * (k - 1), u_h = h + dilation * (k - 1), u_row = u_w * c;
    const bool activation = weights || !shared;
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride), back = depthwise_kernels<T>(k, c, 1);
    {
      at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
        Buffer<T> padded(activation ? (h + 2 * padding) * row : 0, T(0));
        Buffer<T> u(u_h * u_row, T(0)), dy(block * ow * co), features(block * ow * c);
        Buffer<T> part_d(weights ? k * k * c : 0), part_p(weights ? co * c : 0), part_s(2 * c);
        const int me = at::get_thread_num();
        for (int64_t i = begin; i < end; i++) {
          for (int64_t e = 0; e < edges; e++) {
            if (activation && (!shared || e == 0))
              activate<T>(xs + ((shared ? 0 : e * n) + i) * h * w * c, h, w, c,
                          scales ? scales + e * c : nullptr, shifts ? shifts + e * c : nullptr,
                          padded.data(), padding);
            const T* ge = gs[e] + i * oh * ow * g_pixel[e];
            const T* ye = ys + (e * n + i) * oh * ow * co;
            const T* ce = coef + e * 3 * co;
            std::fill(part_p.begin(), part_p.end(), T(0));
            for (int64_t top = 0; top < oh; top += block) {
              const int64_t rows = std::min(block, oh - top), pixels = rows * ow;
              for (int64_t p = 0; p < pixels; p++) {
                const int64_t at = top * ow + p;
                for (int64_t j = 0; j < co; j += L)
                  store(&dy[p * co + j], load(ce + j) * load(ge + at * g_pixel[e] + j) +
                                             load(ce + co + j) * load(ye + at * co + j) +
                                             load(ce + 2 * co + j));
              }
              for (int64_t r = 0; r < rows; r++) {
                if (weights)
                  conv.row(padded.data() + (top + r) * stride * row, row, taps[e].data(),
                                      features.data() + r * ow * c, ow, c, stride, dilation, false);
                gemm<T>(ow, c, co, dy.data() + r * ow * co, co, points + e * co * c,
                        u.data() + ((top + r) * stride + lead) * u_row + lead * c, stride * c, false);
              }
              if (weights) gram<T>(pixels, dy.data(), co, co, features.data(), c, c, part_p.data());
            }
            if (weights) {
              std::fill(part_d.begin(), part_d.end(), T(0));
              conv.weight_grad(padded.data(), row, u.data() + lead * u_row + lead * c, stride * u_row, oh,
                               ow, c, stride, dilation, part_d.data());
              add_to(total_d[me].data() + e * k * k * c, part_d.data(), k * k * c);
              add_to(total_p[me].data() + e * co * c, part_p.data(), co * c);
            }
            T* to = dxs + ((shared ? 0 : e * n) + i) * h * w * c;
            std::fill(part_s.begin(), part_s.end(), T(0));
            for (int64_t r = 0; r < h; r++) {
              T* out = to + r * w * c;
              back.row(u.data() + r * u_row, u_row, flipped[e].data(), out, w, c, 1, dilation,
                                  shared && (accumulate || e > 0));
              if (shared) continue;
              const T* act = padded.data() + (r + padding) * row + padding * c;
              for (int64_t j = 0; j < w * c; j += L) {
                const Vec<T> v = load(act + j);
                store(out + j, v <= Vec<T>{} ? Vec<T>{} : load(out + j));
              }
              const T* from = xs + (e * n + i) * h * w * c + r * w * c;
              sums<T>(w, c, out, c, from, c, part_s.data(), part_s.data() + c);
            }
            if (!shared) add_to(total_s[me].data() + e * 2 * c, part_s.data(), 2 * c);
          }
        }
      });
    }
  });
  if (weights) {
    d_depthwise = reduced(total_d, {edges, k, k, c}, x)
                      .permute({0, 3, 1, 2})
                      .unsqueeze(2)
                      .contiguous();
    d_pointwise = reduced(total_p, {edges, co, c, 1, 1}, x);
  }
  if (!shared) dx_sums = reduced(total_s, {edges, 2, c}, x, true);
  return {dx, dx_sums, d_depthwise, d_pointwise};
}

// ---------------------------------------------------------------- inverted bottlenecks

// d = 0 where relu6(scale * x + shift) is constant, and the sums over pixels of d and of d x.
template <typename T>
void through_relu6(T* d, const T* x, const T* scale, const T* shift, int64_t pixels, int64_t c, T* part) {
  constexpr int64_t L = Lanes<T>::count;
  const Vec<T> six = fill(T(6));
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t i = p * c, j = 0; j < c; i += L, j += L) {
      const Vec<T> v = load(x + i) * load(scale + j) + load(shift + j);
      store(d + i, (v <= Vec<T>{}) | (v >= six) ? Vec<T>{} : load(d + i));
    }
  sums<T>(pixels, c, d, c, x, c, part, part + c);
}

// relu6(scale * x + shift), for x [N, H, W, C].
Tensor relu6_forward(const Tensor& x, const Tensor& scale_, const Tensor& shift_) {
  const Tensor scale = whole(scale_), shift = whole(shift_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const int64_t c = x.size(3), pixels = x.numel() / c;
  Tensor y = fresh(x.sizes(), x);
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    at::parallel_for(0, pixels, 8 * block_of(c), [&](int64_t begin, int64_t end) {
      activate<T, true>(xs + begin * c, 1, end - begin, c, a, b, ys + begin * c, 0);
    });
  });
  return y;
}

// Backward of relu6_forward: takes the gradient d of its result to that of scale * x + shift, and
// sums over pixels what it becomes, and it times x: [2, C] in float64.
Tensor relu6_backward(Tensor d, const Tensor& x, const Tensor& scale_, const Tensor& shift_) {
  const Tensor scale = whole(scale_), shift = whole(shift_);
  TORCH_CHECK(x.is_contiguous() && d.is_contiguous(), "x and d must be contiguous");
  const int64_t n = x.size(0), size = x.size(1) * x.size(2), c = x.size(3), block = block_of(c);
  std::vector<std::vector<double>> total(at::get_num_threads(), std::vector<double>(2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* ds = d.mutable_data_ptr<T>();
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> part(2 * c);
      for (int64_t i = begin; i < end; i++) {
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t top = 0; top < size; top += block) {
          const int64_t first = (i * size + top) * c;
          through_relu6<T>(ds + first, xs + first, a, b, std::min(block, size - top), c, part.data());
        }
        add_to(total[at::get_thread_num()].data(), part.data(), 2 * c);
      }
    });
  });
  return reduced(total, {2, c}, x, true);
}

// The depthwise convolution of relu6(scale * x + shift), and its moments [2, C].
std::tuple<Tensor, Tensor> depthwise_forward(const Tensor& x, const Tensor& scale_, const Tensor& shift_,
                                             const Tensor& weight_, int64_t stride, int64_t padding) {
  const Tensor scale = whole(scale_), shift = whole(shift_), weight = whole(weight_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3), k = weight.size(3);
  const int64_t oh = (h + 2 * padding - k) / stride + 1, ow = (w + 2 * padding - k) / stride + 1;
  Tensor y = fresh({n, oh, ow, c}, x);
  std::vector<std::vector<double>> total(at::get_num_threads(), std::vector<double>(2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    const Buffer<T> taps = transposed(weight.const_data_ptr<T>(), c, k * k);
    const int64_t row = (w + 2 * padding) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded((h + 2 * padding) * row, T(0)), part(2 * c);
      for (int64_t i = begin; i < end; i++) {
        activate<T, true>(xs + i * h * w * c, h, w, c, a, b, padded.data(), padding);
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < oh; r++) {
          T* out = ys + (i * oh + r) * ow * c;
          conv.row(padded.data() + r * stride * row, row, taps.data(), out, ow, c, stride, 1, false);
          sums<T>(ow, c, out, c, out, c, part.data(), part.data() + c);
        }
        add_to(total[at::get_thread_num()].data(), part.data(), 2 * c);
      }
    });
  });
  return {y, moments_of(total, {2, c}, n * oh * ow, x)};
}

// Backward of depthwise_forward and the batch norm after it, which makes a g + b y + c of its
// gradient g, for `coefficients` [3, C]: the gradient of scale * x + shift; the sums over pixels
// of it, and of it times x, [2, C] in float64; the weight's gradient.
std::tuple<Tensor, Tensor, Tensor> depthwise_backward(const Tensor& g, const Tensor& y,
                                                      const Tensor& coefficients_, const Tensor& x,
                                                      const Tensor& scale_, const Tensor& shift_,
                                                      const Tensor& weight_, int64_t stride, int64_t padding,
                                                      bool weights) {
  const Tensor scale = whole(scale_), shift = whole(shift_), weight = whole(weight_);
  const Tensor coefficients = whole(coefficients_);
  TORCH_CHECK(x.is_contiguous() && g.is_contiguous() && y.is_contiguous(), "x, g and y must be contiguous");
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3), k = weight.size(3);
  const int64_t oh = g.size(1), ow = g.size(2), lead = k - 1 - padding, threads = at::get_num_threads();
  Tensor dx = fresh({n, h, w, c}, x), dw;
  std::vector<std::vector<double>> total(threads, std::vector<double>(2 * c, 0.0)), total_w;
  if (weights) total_w.assign(threads, std::vector<double>(k * k * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const T* gs = g.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    const T* a = scale.const_data_ptr<T>();
    const T* b = shift.const_data_ptr<T>();
    T* dxs = dx.mutable_data_ptr<T>();
    const Buffer<T> flipped = transposed(weight.const_data_ptr<T>(), c, k * k, true);
    const int64_t row = (w + 2 * padding) * c, u_w = w + k - 1, u_h = h + k - 1, u_row = u_w * c;
    const Depthwise<T> conv = depthwise_kernels<T>(k, c, stride), back = depthwise_kernels<T>(k, c, 1);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded(weights ? (h + 2 * padding) * row : 0, T(0)), part_w(weights ? k * k * c : 0);
      Buffer<T> part(2 * c);
      Buffer<T> u(u_h * u_row, T(0));  // with zeros between the pixels where the stride is 2
      const int me = at::get_thread_num();
      for (int64_t i = begin; i < end; i++) {
        for (int64_t r = 0; r < oh; r++)
          for (int64_t p = 0; p < ow; p++) {
            const int64_t from = ((i * oh + r) * ow + p) * c;
            T* to = u.data() + (r * stride + lead) * u_row + (p * stride + lead) * c;
            for (int64_t j = 0; j < c; j += L)
              store(to + j, load(coef + j) * load(gs + from + j) + load(coef + c + j) * load(ys + from + j) +
                                load(coef + 2 * c + j));
          }
        if (weights) {
          activate<T, true>(xs + i * h * w * c, h, w, c, a, b, padded.data(), padding);
          std::fill(part_w.begin(), part_w.end(), T(0));
          conv.weight_grad(padded.data(), row, u.data() + lead * u_row + lead * c, stride * u_row, oh, ow, c,
                           stride, 1, part_w.data());
          add_to(total_w[me].data(), part_w.data(), k * k * c);
        }
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < h; r++) {
          T* out = dxs + (i * h + r) * w * c;
          back.row(u.data() + r * u_row, u_row, flipped.data(), out, w, c, 1, 1, false);
          through_relu6<T>(out, xs + (i * h + r) * w * c, a, b, w, c, part.data());
        }
        add_to(total[me].data(), part.data(), 2 * c);
      }
    });
  });
  if (weights) dw = reduced(total_w, {k, k, c}, x).permute({2, 0, 1}).unsqueeze(1).contiguous();
  return {dx, reduced(total, {2, c}, x, true), dw};
}

// ---------------------------------------------------------------- 3x3 convolutions

// Winograd's F(2x2, 3x3): tiles of 2x2 outputs from 4x4 inputs, 16 products of matrices with 4/9
// of the multiplications (Lavin and Gray, https://arxiv.org/abs/1509.09308).

// [C, O] for each of the 16 places, from w [O, C, 3, 3]; or with `backward` [O, C] of the
// convolution that takes gradients back.
template <typename T>
Buffer<T> winograd_weights(const T* w, int64_t o, int64_t c, bool backward) {
  Buffer<T> result(16 * o * c);
  for (int64_t i = 0; i < o; i++)
    for (int64_t j = 0; j < c; j++) {
      const T* g = w + (i * c + j) * 9;
      T half[4][3], full[4][4];
      for (int k = 0; k < 3; k++) {
        T a[3];
        for (int r = 0; r < 3; r++) a[r] = backward ? g[8 - (r * 3 + k)] : g[r * 3 + k];
        half[0][k] = a[0];
        half[1][k] = (a[0] + a[1] + a[2]) / 2;
        half[2][k] = (a[0] - a[1] + a[2]) / 2;
        half[3][k] = a[2];
      }
      for (int r = 0; r < 4; r++) {
        const T* a = half[r];
        full[r][0] = a[0];
        full[r][1] = (a[0] + a[1] + a[2]) / 2;
        full[r][2] = (a[0] - a[1] + a[2]) / 2;
        full[r][3] = a[2];
      }
      for (int at = 0; at < 16; at++)
        result[at * o * c + (backward ? i * c + j : j * o + i)] = full[at / 4][at % 4];
    }
  return result;
}

// `tiles` tiles of a row, two pixels apart, of a padded image into [16, hop] (a place's tiles).
template <typename T, int C>
void winograd_input_of(const T* in, int64_t row, int64_t tiles, int64_t any_channels, T* out, int64_t hop) {
  constexpr int64_t L = Lanes<T>::count;
  const int64_t channels = C ? C : any_channels;
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t c = 0; c < channels; c += L) {
      const T* at = in + t * 2 * channels + c;
      T* to = out + t * channels + c;
      Vec<T> half[4][4];
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) {
        const Vec<T> a = load(at + x * channels), b = load(at + row + x * channels);
        const Vec<T> d = load(at + 2 * row + x * channels), e = load(at + 3 * row + x * channels);
        half[0][x] = a - d;
        half[1][x] = b + d;
        half[2][x] = d - b;
        half[3][x] = b - e;
      }
#pragma GCC unroll 4
      for (int y = 0; y < 4; y++) {
        store(to + (4 * y) * hop, half[y][0] - half[y][2]);
        store(to + (4 * y + 1) * hop, half[y][1] + half[y][2]);
        store(to + (4 * y + 2) * hop, half[y][2] - half[y][1]);
        store(to + (4 * y + 3) * hop, half[y][1] - half[y][3]);
      }
    }
}

// The 2x2 outputs of a row of tiles, those inside of an image of `h` by `w` from (top, 0).
template <typename T, int C>
void winograd_output_of(const T* in, int64_t hop, int64_t tiles, int64_t any_channels, T* out, int64_t w,
                        bool second_row, bool accumulate) {
  constexpr int64_t L = Lanes<T>::count;
  const int64_t channels = C ? C : any_channels;
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t c = 0; c < channels; c += L) {
      const T* at = in + t * channels + c;
      Vec<T> half[2][4];
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) {
        const Vec<T> a = load(at + x * hop), b = load(at + (4 + x) * hop);
        const Vec<T> d = load(at + (8 + x) * hop), e = load(at + (12 + x) * hop);
        half[0][x] = a + b + d;
        half[1][x] = b - d - e;
      }
#pragma GCC unroll 2
      for (int y = 0; y < 2; y++) {
        if (y && !second_row) continue;
        T* to = out + (y * w + 2 * t) * channels + c;
        const Vec<T> left = half[y][0] + half[y][1] + half[y][2];
        const Vec<T> right = half[y][1] - half[y][2] - half[y][3];
        store(to, accumulate ? load(to) + left : left);
        if (2 * t + 1 < w) store(to + channels, accumulate ? load(to + channels) + right : right);
      }
    }
}

template <typename T>
auto* winograd_input(int64_t channels) {
  return channels == 16   ? winograd_input_of<T, 16>
         : channels == 32 ? winograd_input_of<T, 32>
         : channels == 64 ? winograd_input_of<T, 64>
                          : winograd_input_of<T, 0>;
}

template <typename T>
auto* winograd_output(int64_t channels) {
  return channels == 16   ? winograd_output_of<T, 16>
         : channels == 32 ? winograd_output_of<T, 32>
         : channels == 64 ? winograd_output_of<T, 64>
                          : winograd_output_of<T, 0>;
}

// Tiles of an image, in blocks of rows of tiles.
struct Tiling {
  int64_t h, w, rows, columns, block;
  Tiling(int64_t height, int64_t width)
      : h(height), w(width), rows((h + 1) / 2), columns((w + 1) / 2),
        block(std::max<int64_t>(1, std::min(rows, 16 / columns))) {}
  int64_t padded(int64_t channels) const { return (2 * rows + 2) * row(channels); }
  int64_t row(int64_t channels) const { return (2 * columns + 2) * channels; }
  int64_t places(int64_t channels) const { return block * columns * channels; }
};

// y[e] = the 3x3 convolution of relu(x) by w[e] [O, C, 3, 3] with padding 1, for E edges, and the
// moments of y [E, 2, O].
std::tuple<Tensor, Tensor> conv3x3_forward(const Tensor& x, const Tensor& weight_) {
  const Tensor weight = whole(weight_);
  TORCH_CHECK(x.is_contiguous(), "x must be contiguous");
  const int64_t edges = weight.size(0), o = weight.size(1), c = weight.size(2);
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2);
  Tensor y = fresh({edges, n, h, w, o}, x);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(edges * 2 * o, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    const T* xs = x.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    std::vector<Buffer<T>> points;
    for (int64_t e = 0; e < edges; e++)
      points.push_back(winograd_weights(weight.const_data_ptr<T>() + e * o * c * 9, o, c, false));
    const Tiling tiling(h, w);
    const auto input = winograd_input<T>(c);
    const auto output = winograd_output<T>(o);
    const int64_t in_hop = tiling.places(c), out_hop = tiling.places(o), row = tiling.row(c);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded(tiling.padded(c), T(0)), places(16 * in_hop), products(16 * out_hop);
      Buffer<T> part(edges * 2 * o);
      for (int64_t i = begin; i < end; i++) {
        for (int64_t r = 0; r < h; r++)
          activate<T>(xs + (i * h + r) * w * c, 1, w, c, nullptr, nullptr, &padded[(r + 1) * row + c], 0);
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t top = 0; top < tiling.rows; top += tiling.block) {
          const int64_t rows = std::min(tiling.block, tiling.rows - top), tiles = rows * tiling.columns;
          for (int64_t r = 0; r < rows; r++)
            input(&padded[2 * (top + r) * row], row, tiling.columns, c,
                  &places[r * tiling.columns * c], in_hop);
          for (int64_t e = 0; e < edges; e++) {
            for (int at = 0; at < 16; at++)
              gemm<T>(tiles, o, c, &places[at * in_hop], c, &points[e][at * c * o], &products[at * out_hop],
                      o, false);
            T* out = ys + (e * n + i) * h * w * o;
            for (int64_t r = 0; r < rows; r++)
              output(&products[r * tiling.columns * o], out_hop, tiling.columns, o,
                     out + 2 * (top + r) * w * o, w, 2 * (top + r) + 1 < h, false);
            const int64_t first = 2 * top, last = std::min(h, 2 * (top + rows));
            const T* done = out + first * w * o;
            sums<T>((last - first) * w, o, done, o, done, o, &part[e * 2 * o], &part[e * 2 * o + o]);
          }
        }
        add_to(totals[at::get_thread_num()].data(), part.data(), edges * 2 * o);
      }
    });
  });
  return {y, moments_of(totals, {edges, 2, o}, n * h * w, x)};
}

// Backward of conv3x3_forward and the batch norm after it; for `coefficients` see
// separable_backward. The gradient of relu(x) is put or added into `into` [N, H, W, C].
Tensor conv3x3_backward(TensorList g, const Tensor& y, const Tensor& coefficients_, const Tensor& x,
                        const Tensor& weight_, Tensor into, bool accumulate, bool weights) {
  const Tensor weight = whole(weight_), coefficients = whole(coefficients_);
  TORCH_CHECK(x.is_contiguous() && into.is_contiguous(), "x and into must be contiguous");
  const int64_t edges = weight.size(0), o = weight.size(1), c = weight.size(2);
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(weights ? edges * 9 * o * c : 0, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    T* out = into.mutable_data_ptr<T>();
    std::vector<const T*> gs, ys;
    std::vector<int64_t> g_pixel, y_pixel;
    std::vector<Buffer<T>> points;
    for (int64_t e = 0; e < edges; e++) {
      gs.push_back(g[e].const_data_ptr<T>());
      g_pixel.push_back(shape_of(g[e]).pixel);
      const Tensor one = y.select(0, e);
      ys.push_back(one.const_data_ptr<T>());
      y_pixel.push_back(shape_of(one).pixel);
      points.push_back(winograd_weights(weight.const_data_ptr<T>() + e * o * c * 9, o, c, true));
    }
    const Tiling tiling(h, w);
    const auto input = winograd_input<T>(o);
    const auto output = winograd_output<T>(c);
    const int64_t in_hop = tiling.places(o), out_hop = tiling.places(c);
    const int64_t row = tiling.row(c), u_row = tiling.row(o), u_size = tiling.padded(o);
    at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded(weights ? tiling.padded(c) : 0, T(0)), u(edges * u_size, T(0));
      Buffer<T> places(16 * in_hop), products(16 * out_hop), part(weights ? 9 * o * c : 0);
      double* total = totals[at::get_thread_num()].data();
      for (int64_t i = begin; i < end; i++) {
        if (weights)
          for (int64_t r = 0; r < h; r++)
            activate<T>(xs + (i * h + r) * w * c, 1, w, c, nullptr, nullptr, &padded[(r + 1) * row + c], 0);
        for (int64_t e = 0; e < edges; e++) {
          const T* ce = coef + e * 3 * o;
          for (int64_t r = 0; r < h; r++) {
            const T* ge = gs[e] + (i * h + r) * w * g_pixel[e];
            const T* ye = ys[e] + (i * h + r) * w * y_pixel[e];
            T* to = &u[e * u_size + (r + 1) * u_row + o];
            for (int64_t j = 0; j < o; j += L) {
              const Vec<T> a = load(ce + j), b = load(ce + o + j), d = load(ce + 2 * o + j);
              for (int64_t p = 0; p < w; p++)
                store(to + p * o + j, a * load(ge + p * g_pixel[e] + j) + b * load(ye + p * y_pixel[e] + j) + d);
            }
          }
          if (!weights) continue;
          std::fill(part.begin(), part.end(), T(0));
          for (int64_t tap = 0; tap < 9; tap++)
            for (int64_t r = 0; r < h; r++)
              gram<T>(w, &u[e * u_size + (r + 1) * u_row + o], o, o,
                      &padded[(r + tap / 3) * row + tap % 3 * c], c, c, &part[tap * o * c]);
          add_to(total + e * 9 * o * c, part.data(), 9 * o * c);
        }
        T* to = out + i * h * w * c;
        for (int64_t top = 0; top < tiling.rows; top += tiling.block) {
          const int64_t rows = std::min(tiling.block, tiling.rows - top), tiles = rows * tiling.columns;
          for (int64_t e = 0; e < edges; e++) {
            for (int64_t r = 0; r < rows; r++)
              input(&u[e * u_size + 2 * (top + r) * u_row], u_row, tiling.columns, o,
                    &places[r * tiling.columns * o], in_hop);
            for (int at = 0; at < 16; at++)
              gemm<T>(tiles, c, o, &places[at * in_hop], o, &points[e][at * c * o], &products[at * out_hop],
                      c, e > 0);
          }
          for (int64_t r = 0; r < rows; r++)
            output(&products[r * tiling.columns * c], out_hop, tiling.columns, c,
                   to + 2 * (top + r) * w * c, w, 2 * (top + r) + 1 < h, accumulate);
        }
      }
    });
  });
  if (!weights) return Tensor();
  return reduced(totals, {edges, 3, 3, o, c}, x).permute({0, 3, 4, 1, 2}).contiguous();
}

// ---------------------------------------------------------------- mixing

// Terms of one edge in a block of pixels.
template <typename T>
struct Terms {
  std::vector<const T*> from;
  std::vector<int64_t> pixel;
  std::vector<const T*> scale;
  std::vector<T*> product;
};

// out (+)= shift + sum of NT terms, scaled.
template <typename T, int NT>
void mix_block(int64_t pixels, int64_t c, T* out, int64_t out_pixel, bool accumulate, const T* shift,
               const Terms<T>& terms, size_t first, int64_t offset) {
  constexpr int64_t L = Lanes<T>::count;
  for (int64_t i = 0; i < c; i += L) {
    Vec<T> scale[NT];
    const T* from[NT];
    int64_t step[NT];
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
      scale[t] = load(terms.scale[first + t] + i);
      step[t] = terms.pixel[first + t];
      from[t] = terms.from[first + t] + offset * step[t] + i;
    }
    const Vec<T> base = shift ? load(shift + i) : Vec<T>{};
    T* to = out + i;
    for (int64_t p = 0; p < pixels; p++) {
      Vec<T> sum = accumulate ? base + load(to) : base;
#pragma GCC unroll 4
      for (int t = 0; t < NT; t++) {
        sum += scale[t] * load(from[t]);
        from[t] += step[t];
      }
      store(to, sum);
      to += out_pixel;
    }
  }
}

template <typename T>
void mix_edge(int64_t pixels, int64_t c, T* out, int64_t out_pixel, bool accumulate, const T* shift,
              const Terms<T>& terms, int64_t offset) {
  size_t first = 0;
  do {
    const size_t count = std::min<size_t>(4, terms.from.size() - first);
    auto* run = count == 4   ? mix_block<T, 4>
                : count == 3 ? mix_block<T, 3>
                : count == 2 ? mix_block<T, 2>
                : count == 1 ? mix_block<T, 1>
                             : mix_block<T, 0>;
    run(pixels, c, out, out_pixel, accumulate, shift, terms, first, offset);
    first += count;
    accumulate = true;
    shift = nullptr;
  } while (first < terms.from.size());
}

// total += sum_p g[p], product[t] += sum_p g[p] term[t][p], for NT terms.
template <typename T, int NT>
void sums_block(int64_t pixels, int64_t c, const T* g, int64_t g_pixel, T* total, const Terms<T>& terms,
                size_t first, int64_t offset) {
  constexpr int64_t L = Lanes<T>::count;
  for (int64_t i = 0; i < c; i += L) {
    Vec<T> sum[NT + 1], other[NT + 1];
    const T* from[NT + 1];
    int64_t step[NT + 1];
    sum[NT] = other[NT] = Vec<T>{};
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
      sum[t] = other[t] = Vec<T>{};
      step[t] = terms.pixel[first + t];
      from[t] = terms.from[first + t] + offset * step[t] + i;
    }
    const T* at = g + i;
    int64_t p = 0;
    for (; p + 2 <= pixels; p += 2) {  // two sums each: additions do not wait for each other
      const Vec<T> g0 = load(at), g1 = load(at + g_pixel);
      at += 2 * g_pixel;
      sum[NT] += g0;
      other[NT] += g1;
#pragma GCC unroll 4
      for (int t = 0; t < NT; t++) {
        sum[t] += g0 * load(from[t]);
        other[t] += g1 * load(from[t] + step[t]);
        from[t] += 2 * step[t];
      }
    }
    if (p < pixels) {
      const Vec<T> g0 = load(at);
      sum[NT] += g0;
#pragma GCC unroll 4
      for (int t = 0; t < NT; t++) sum[t] += g0 * load(from[t]);
    }
    if (total) store(total + i, load(total + i) + sum[NT] + other[NT]);
#pragma GCC unroll 4
    for (int t = 0; t < NT; t++) {
      T* product = terms.product[first + t] + i;
      store(product, load(product) + sum[t] + other[t]);
    }
  }
}

template <typename T>
void sums_edge(int64_t pixels, int64_t c, const T* g, int64_t g_pixel, T* total, const Terms<T>& terms,
               int64_t offset) {
  size_t first = 0;
  do {
    const size_t count = std::min<size_t>(4, terms.from.size() - first);
    auto* run = count == 4   ? sums_block<T, 4>
                : count == 3 ? sums_block<T, 3>
                : count == 2 ? sums_block<T, 2>
                : count == 1 ? sums_block<T, 1>
                             : sums_block<T, 0>;
    run(pixels, c, g, g_pixel, total, terms, first, offset);
    first += count;
    total = nullptr;
  } while (first < terms.from.size());
}

// outs[j] = sum over terms t of edge j of scales[t] * terms[t] + shifts[j]
//           + relu(x) matrices[j]', added to what outs[j] holds where accumulate[j].
void mix(TensorList outs, at::IntArrayRef accumulate, TensorList terms, at::IntArrayRef edge_of, const Tensor& scales_,
         const optional<Tensor>& shifts_, const optional<Tensor>& x, const optional<Tensor>& matrices_) {
  const Tensor scales = whole(scales_);
  const auto shifts = whole(shifts_), matrices = whole(matrices_);
  const Image shape = shape_of(outs[0]);
  const int64_t c = shape.c, size = shape.h * shape.w;
  over_real(outs[0], [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* s = scales.const_data_ptr<T>();
    const T* b = shifts ? shifts->const_data_ptr<T>() : nullptr;
    std::vector<Buffer<T>> right;
    if (matrices)
      for (size_t j = 0; j < outs.size(); j++)
        right.push_back(transposed(matrices->const_data_ptr<T>() + j * c * c, c, c));
    std::vector<Terms<T>> of(outs.size());
    for (size_t t = 0; t < terms.size(); t++) {
      of[edge_of[t]].from.push_back(terms[t].const_data_ptr<T>());
      of[edge_of[t]].pixel.push_back(shape_of(terms[t]).pixel);
      of[edge_of[t]].scale.push_back(s + t * c);
    }
    std::vector<T*> to;
    std::vector<int64_t> to_pixel;
    for (const Tensor& t : outs) {
      to.push_back(t.mutable_data_ptr<T>());
      to_pixel.push_back(shape_of(t).pixel);
    }
    const T* xs = x ? x->const_data_ptr<T>() : nullptr;
    const int64_t block = block_of(c);
    const int64_t blocks = (size + block - 1) / block;
    at::parallel_for(0, shape.n * blocks, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(matrices ? block * c : 0);
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task / blocks * size + task % blocks * block;
        const int64_t pixels = std::min(block, size - task % blocks * block);
        if (matrices) {
          const T* at = xs + first * c;
          for (int64_t i = 0; i < pixels * c; i += L) store(&active[i], relu<T>(load(at + i)));
        }
        for (size_t j = 0; j < outs.size(); j++) {
          T* out = to[j] + first * to_pixel[j];
          mix_edge<T>(pixels, c, out, to_pixel[j], accumulate[j], b ? b + j * c : nullptr, of[j], first);
          if (matrices) gemm<T>(pixels, c, c, active.data(), c, right[j].data(), out, to_pixel[j], true);
        }
      }
    });
  });
}

// The gradients of mix for its scales, shifts and matrices: sums over pixels of g[j] terms[t],
// [T, C]; of g[j], [J, C]; and g[j]' relu(x), [J, C, C]. Sums are in float64.
std::tuple<Tensor, Tensor, Tensor> mix_sums(TensorList g, TensorList terms, at::IntArrayRef edge_of,
                                            const optional<Tensor>& x) {
  const Image shape = shape_of(g[0]);
  const int64_t c = shape.c, size = shape.h * shape.w;
  const int64_t count = terms.size(), edges = g.size();
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> products(threads, std::vector<double>(count * c, 0.0)),
      plain(threads, std::vector<double>(edges * c, 0.0)),
      matrices(threads, std::vector<double>(x ? edges * c * c : 0, 0.0));
  over_real(g[0], [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    std::vector<const T*> gs;
    std::vector<int64_t> g_pixel;
    for (const Tensor& t : g) {
      gs.push_back(t.const_data_ptr<T>());
      g_pixel.push_back(shape_of(t).pixel);
    }
    std::vector<Terms<T>> given(edges);
    for (int64_t t = 0; t < count; t++) {
      given[edge_of[t]].from.push_back(terms[t].const_data_ptr<T>());
      given[edge_of[t]].pixel.push_back(shape_of(terms[t]).pixel);
    }
    const T* xs = x ? x->const_data_ptr<T>() : nullptr;
    const int64_t block = block_of(c);
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
          if (x)
            for (int64_t i = 0; i < pixels * c; i += L) store(&active[i], relu<T>(load(xs + first * c + i)));
          for (int64_t j = 0; j < edges; j++) {
            const T* at = gs[j] + first * g_pixel[j];
            sums_edge<T>(pixels, c, at, g_pixel[j], part_g.data() + j * c, of[j], first);
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
          x ? reduced(matrices, {edges, c, c}, g[0], true) : Tensor()};
}

// Mean [C] and covariance [C, C] over pixels of relu(x), in float64.
std::tuple<Tensor, Tensor> relu_covariance(const Tensor& x) {
  const Image shape = shape_of(x);
  const int64_t c = shape.c, size = shape.h * shape.w, count = shape.n * size;
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> total(threads, std::vector<double>(c, 0.0)),
      products(threads, std::vector<double>(c * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const int64_t block = block_of(c);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      const int me = at::get_thread_num();
      Buffer<T> active(block * c), part(c), part_m(c * c);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part.begin(), part.end(), T(0));
        std::fill(part_m.begin(), part_m.end(), T(0));
        for (int64_t top = 0; top < size; top += block) {
          const int64_t first = (n * size + top) * c, pixels = std::min(block, size - top);
          for (int64_t i = 0; i < pixels * c; i += L) store(&active[i], relu<T>(load(xs + first + i)));
          sums<T>(pixels, c, active.data(), c, active.data(), c, part.data(), nullptr);
          gram<T>(pixels, active.data(), c, c, active.data(), c, c, part_m.data());
        }
        add_to(total[me].data(), part.data(), c);
        add_to(products[me].data(), part_m.data(), c * c);
      }
    });
  });
  Tensor mean = reduced(total, {c}, x, true), covariance = reduced(products, {c, c}, x, true);
  double* m = mean.mutable_data_ptr<double>();
  double* s = covariance.mutable_data_ptr<double>();
  for (int64_t i = 0; i < c; i++) m[i] /= count;
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < c; j++) s[i * c + j] = s[i * c + j] / count - m[i] * m[j];
  return {mean, covariance};
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

// ---------------------------------------------------------------- pointwise convolutions

// 1x1 convolutions of the concatenated relu(x[i]), of which no concatenation is made. Branch k has
// the channels from offset[k] on and reads from pixel (k, k) on, with zeros beyond the image: one
// branch of stride 1, or the two of stride 2 of a factorised reduction.
struct Pointwise {
  int64_t n, h, w, stride, oh, ow, channels = 0, outputs = 0, widest = 0;
  std::vector<int64_t> from;           // first channel of each input
  std::vector<int64_t> offset, count;  // first channel and channels of each branch

  Pointwise(TensorList xs, TensorList weights, int64_t s) : stride(s) {
    TORCH_CHECK(s == 1 ? weights.size() == 1 : s == 2, "stride must be 1 with one weight, or 2");
    const Image shape = shape_of(xs[0]);
    n = shape.n, h = shape.h, w = shape.w;
    oh = (h + s - 1) / s, ow = (w + s - 1) / s;
    for (const Tensor& x : xs) {
      from.push_back(channels);
      channels += x.size(3);
      widest = std::max(widest, x.size(3));
    }
    for (const Tensor& weight : weights) {
      TORCH_CHECK(weight.size(1) == channels, "weights must be [O, C, 1, 1] of all inputs' channels C");
      offset.push_back(outputs);
      count.push_back(weight.size(0));
      outputs += weight.size(0);
    }
    if (s == 1) {  // rows do not matter
      w = ow = h * w;
      h = oh = 1;
    }
  }

  // Output pixels from `left` of row r that branch k finds inside of the image.
  int64_t inside(int64_t r, int64_t k, int64_t left, int64_t pixels) const {
    if (r * stride + k >= h) return 0;
    return std::clamp<int64_t>((w - k + stride - 1) / stride - left, 0, pixels);
  }

  // The input pixel that output pixel (r, q) of image i reads in branch k.
  int64_t place(int64_t i, int64_t r, int64_t q, int64_t k) const {
    return (i * h + r * stride + k) * w + q * stride + k;
  }
};

template <typename T>
struct Inputs {
  std::vector<const T*> data;
  std::vector<int64_t> channels, pixel;
  explicit Inputs(TensorList xs) {
    for (const Tensor& x : xs) {
      data.push_back(x.const_data_ptr<T>());
      channels.push_back(x.size(3));
      pixel.push_back(shape_of(x).pixel);
    }
  }
  // relu of `pixels` pixels of input i, `stride` apart, from `first` on.
  void gather(size_t i, int64_t first, int64_t pixels, int64_t stride, T* to) const {
    constexpr int64_t L = Lanes<T>::count;
    const T* at = data[i] + first * pixel[i];
    for (int64_t p = 0; p < pixels; p++, at += stride * pixel[i], to += channels[i])
      for (int64_t c = 0; c < channels[i]; c += L) store(to + c, relu<T>(load(at + c)));
  }
};

// y [N, h, w, O] and its moments [2, O].
std::tuple<Tensor, Tensor> pointwise_forward(TensorList xs, TensorList weights, int64_t stride) {
  const Pointwise plan(xs, weights, stride);
  const int64_t o = plan.outputs, inputs = xs.size(), branches = weights.size();
  const int64_t h = (xs[0].size(1) + stride - 1) / stride, w = (xs[0].size(2) + stride - 1) / stride;
  Tensor y = fresh({plan.n, h, w, o}, xs[0]);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> totals(threads, std::vector<double>(2 * o, 0.0));
  over_real(xs[0], [&](auto real) {
    using T = decltype(real);
    const Inputs<T> in(xs);
    T* ys = y.mutable_data_ptr<T>();
    std::vector<Buffer<T>> points;  // [C_i, O_k] of each branch and input
    for (int64_t k = 0; k < branches; k++) {
      const Tensor weight = whole(weights[k]);
      const T* from = weight.const_data_ptr<T>();
      for (int64_t i = 0; i < inputs; i++) {
        points.emplace_back(in.channels[i] * plan.count[k]);
        for (int64_t c = 0; c < in.channels[i]; c++)
          for (int64_t j = 0; j < plan.count[k]; j++)
            points.back()[c * plan.count[k] + j] = from[j * plan.channels + plan.from[i] + c];
      }
    }
    const int64_t block = block_of(std::max(plan.widest, o));
    at::parallel_for(0, plan.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(block * plan.widest), part(2 * o);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < plan.oh; r++)
          for (int64_t left = 0; left < plan.ow; left += block) {
            const int64_t pixels = std::min(block, plan.ow - left);
            T* out = ys + ((n * plan.oh + r) * plan.ow + left) * o;
            for (int64_t k = 0; k < branches; k++) {
              const int64_t inside = plan.inside(r, k, left, pixels);
              T* to = out + plan.offset[k];
              for (int64_t p = inside; p < pixels; p++) std::fill_n(to + p * o, plan.count[k], T(0));
              if (inside == 0) continue;
              for (int64_t i = 0; i < inputs; i++) {
                in.gather(i, plan.place(n, r, left, k), inside, stride, active.data());
                gemm<T>(inside, plan.count[k], in.channels[i], active.data(), in.channels[i],
                        points[k * inputs + i].data(), to, o, i > 0);
              }
            }
            sums<T>(pixels, o, out, o, out, o, part.data(), part.data() + o);
          }
        add_to(totals[at::get_thread_num()].data(), part.data(), 2 * o);
      }
    });
  });
  return {y, moments_of(totals, {2, o}, plan.n * plan.oh * plan.ow, xs[0])};
}

// Backward of pointwise_forward and the batch norm after it; `coefficients` is [3, O], see
// separable_backward. The gradients of `images` and `weights`, each only where wanted.
std::tuple<std::vector<Tensor>, std::vector<Tensor>> pointwise_backward(
    const Tensor& g, const Tensor& y, const Tensor& coefficients_, TensorList xs, TensorList weights,
    int64_t stride, bool want_images, bool want_weights) {
  const Tensor coefficients = whole(coefficients_);
  TORCH_CHECK(y.is_contiguous(), "y must be contiguous");
  const Pointwise plan(xs, weights, stride);
  const int64_t o = plan.outputs, inputs = xs.size(), branches = weights.size();
  const int threads = at::get_num_threads();
  const int64_t size = o * plan.channels;
  std::vector<std::vector<double>> totals(threads, std::vector<double>(want_weights ? size : 0, 0.0));
  std::vector<Tensor> dxs, dws;
  if (want_images)
    for (const Tensor& x : xs) dxs.push_back(fresh(x.sizes(), x));
  over_real(xs[0], [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const Inputs<T> in(xs);
    const T* gs = g.const_data_ptr<T>();
    const T* ys = y.const_data_ptr<T>();
    const T* coef = coefficients.const_data_ptr<T>();
    const int64_t g_pixel = shape_of(g).pixel;
    std::vector<T*> to;
    for (Tensor& dx : dxs) to.push_back(dx.mutable_data_ptr<T>());
    std::vector<Buffer<T>> points;  // [O_k, C_i] of each branch and input
    for (int64_t k = 0; k < branches; k++) {
      const Tensor weight = whole(weights[k]);
      const T* from = weight.const_data_ptr<T>();
      for (int64_t i = 0; i < inputs; i++) {
        points.emplace_back(in.channels[i] * plan.count[k]);
        for (int64_t j = 0; j < plan.count[k]; j++)
          std::copy_n(from + j * plan.channels + plan.from[i], in.channels[i],
                      &points.back()[j * in.channels[i]]);
      }
    }
    const int64_t block = block_of(std::max(plan.widest, o));
    at::parallel_for(0, plan.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(block * plan.widest), dy(block * o), part(want_weights ? size : 0);
      for (int64_t n = begin; n < end; n++) {
        std::fill(part.begin(), part.end(), T(0));
        if (stride > 1)  // pixels that no branch reads
          for (size_t i = 0; i < to.size(); i++) {
            const int64_t all = plan.h * plan.w * in.channels[i];
            std::fill_n(to[i] + n * all, all, T(0));
          }
        for (int64_t r = 0; r < plan.oh; r++)
          for (int64_t left = 0; left < plan.ow; left += block) {
            const int64_t pixels = std::min(block, plan.ow - left);
            const int64_t first = (n * plan.oh + r) * plan.ow + left;
            for (int64_t k = 0; k < branches; k++) {
              const int64_t inside = plan.inside(r, k, left, pixels), outputs = plan.count[k];
              if (inside == 0) continue;
              for (int64_t p = 0; p < inside; p++)
                for (int64_t j = 0; j < outputs; j += L) {
                  const int64_t c = plan.offset[k] + j;
                  store(&dy[p * outputs + j], load(coef + c) * load(gs + (first + p) * g_pixel + c) +
                                                  load(coef + o + c) * load(ys + (first + p) * o + c) +
                                                  load(coef + 2 * o + c));
                }
              const int64_t place = plan.place(n, r, left, k);
              T* grad = part.data() + plan.offset[k] * plan.channels;
              for (int64_t i = 0; i < inputs; i++) {
                const int64_t c = in.channels[i];
                if (want_weights) {
                  in.gather(i, place, inside, stride, active.data());
                  gram<T>(inside, dy.data(), outputs, outputs, active.data(), c, c,
                          grad + outputs * plan.from[i]);
                }
                if (!want_images) continue;
                T* out = to[i] + place * c;
                gemm<T>(inside, c, outputs, dy.data(), outputs, points[k * inputs + i].data(), out,
                        stride * c, false);
                const T* x = in.data[i] + place * in.pixel[i];
                for (int64_t p = 0; p < inside; p++, out += stride * c, x += stride * in.pixel[i])
                  for (int64_t j = 0; j < c; j += L)
                    store(out + j, load(x + j) <= Vec<T>{} ? Vec<T>{} : load(out + j));
              }
            }
          }
        if (want_weights) add_to(totals[at::get_thread_num()].data(), part.data(), size);
      }
    });
  });
  if (want_weights) {  // of each branch [O_k, C_i] of all inputs
    const Tensor all = reduced(totals, {size}, xs[0]);
    int64_t start = 0;
    for (int64_t k = 0; k < branches; k++) {
      std::vector<Tensor> parts;
      for (const Tensor& x : xs) {
        const int64_t length = plan.count[k] * x.size(3);
        parts.push_back(all.narrow(0, start, length).view({plan.count[k], x.size(3), 1, 1}));
        start += length;
      }
      dws.push_back(at::cat(parts, 1));
    }
  }
  return {dxs, dws};
}

// ---------------------------------------------------------------- pooling

template <typename T>
std::vector<T> inverse_counts(int64_t size, int64_t out, int64_t stride) {
  std::vector<T> result(out);
  for (int64_t i = 0; i < out; i++) {
    const int64_t low = std::max<int64_t>(0, i * stride - 1), high = std::min(size, i * stride + 2);
    result[i] = T(1) / T(high - low);
  }
  return result;
}

// 3x3 pooling with padding 1: the maximum, or the mean of what is inside of the image; with the
// moments of the result, [2, C].
std::tuple<Tensor, Tensor> pool_forward(const Tensor& x, bool maximum, int64_t stride) {
  const Image shape = shape_of(x);
  const int64_t h = shape.h, w = shape.w, c = shape.c;
  const int64_t oh = (h - 1) / stride + 1, ow = (w - 1) / stride + 1;
  Tensor y = fresh({shape.n, oh, ow, c}, x);
  const int threads = at::get_num_threads();
  std::vector<std::vector<double>> total(threads, std::vector<double>(2 * c, 0.0));
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    T* ys = y.mutable_data_ptr<T>();
    const auto by_row = inverse_counts<T>(h, oh, stride), by_column = inverse_counts<T>(w, ow, stride);
    const Buffer<T> ones(9 * c, T(1));
    const int64_t row = (w + 2) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(3, c, stride);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      const T outside = maximum ? -std::numeric_limits<T>::infinity() : T(0);
      Buffer<T> padded((h + 2) * row, outside), part(2 * c);
      for (int64_t n = begin; n < end; n++) {
        for (int64_t r = 0; r < h; r++)
          std::memcpy(&padded[(r + 1) * row + c], xs + (n * h + r) * w * c, sizeof(T) * w * c);
        std::fill(part.begin(), part.end(), T(0));
        for (int64_t r = 0; r < oh; r++) {
          T* out = ys + (n * oh + r) * ow * c;
          const T* in = padded.data() + r * stride * row;
          if (maximum) {
            for (int64_t q = 0; q < ow; q++)
              for (int64_t i = 0; i < c; i += L) {
                const T* at = in + q * stride * c + i;
                Vec<T> best = load(at);
#pragma GCC unroll 9
                for (int tap = 1; tap < 9; tap++) {
                  const Vec<T> v = load(at + tap / 3 * row + tap % 3 * c);
                  best = ((v > best) | (v != v)) ? v : best;
                }
                store(out + q * c + i, best);
              }
          } else {
            conv.row(in, row, ones.data(), out, ow, c, stride, 1, false);
            for (int64_t q = 0; q < ow; q++)
              for (int64_t i = 0; i < c; i += L)
                store(out + q * c + i, load(out + q * c + i) * fill(by_row[r] * by_column[q]));
          }
          sums<T>(ow, c, out, c, out, c, part.data(), part.data() + c);
        }
        add_to(total[at::get_thread_num()].data(), part.data(), 2 * c);
      }
    });
  });
  return {y, moments_of(total, {2, c}, shape.n * oh * ow, x)};
}

// dx += the gradient of x for dy. Of equal maxima the first takes it, as PyTorch has it.
void pool_backward(const Tensor& dy, const Tensor& x, const Tensor& y, bool maximum, int64_t stride,
                   Tensor dx) {
  const Image shape = shape_of(x);
  const int64_t h = shape.h, w = shape.w, c = shape.c, oh = dy.size(1), ow = dy.size(2);
  over_real(x, [&](auto real) {
    using T = decltype(real);
    constexpr int64_t L = Lanes<T>::count;
    const T* xs = x.const_data_ptr<T>();
    const T* ys = maximum ? y.const_data_ptr<T>() : nullptr;
    const T* ds = dy.const_data_ptr<T>();
    T* out = dx.mutable_data_ptr<T>();
    const auto by_row = inverse_counts<T>(h, oh, stride), by_column = inverse_counts<T>(w, ow, stride);
    const Buffer<T> ones(9 * c, T(1));
    const int64_t row = (w + 2) * c;
    const Depthwise<T> conv = depthwise_kernels<T>(3, c, 1);
    at::parallel_for(0, shape.n, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> padded((h + 2) * row, T(0)), grad(maximum ? (h + 2) * row : 0);
      if (maximum) std::fill(padded.begin(), padded.end(), -std::numeric_limits<T>::infinity());
      for (int64_t n = begin; n < end; n++) {
        if (maximum) {
          std::fill(grad.begin(), grad.end(), T(0));
          for (int64_t r = 0; r < h; r++)
            std::memcpy(&padded[(r + 1) * row + c], xs + (n * h + r) * w * c, sizeof(T) * w * c);
          for (int64_t r = 0; r < oh; r++)
            for (int64_t q = 0; q < ow; q++) {
              const int64_t at = ((n * oh + r) * ow + q) * c, in = r * stride * row + q * stride * c;
              for (int64_t i = 0; i < c; i += L) {
                const Vec<T> best = load(ys + at + i);
                Vec<T> left = load(ds + at + i);
#pragma GCC unroll 9
                for (int tap = 0; tap < 9; tap++) {
                  const int64_t place = in + tap / 3 * row + tap % 3 * c + i;
                  const auto here = load(&padded[place]) == best;
                  store(&grad[place], load(&grad[place]) + (here ? left : Vec<T>{}));
                  left = here ? Vec<T>{} : left;
                }
              }
            }
          for (int64_t r = 0; r < h; r++) {
            T* to = out + (n * h + r) * w * c;
            for (int64_t i = 0; i < w * c; i += L)
              store(to + i, load(to + i) + load(&grad[(r + 1) * row + c + i]));
          }
        } else {
          for (int64_t r = 0; r < oh; r++)
            for (int64_t q = 0; q < ow; q++)
              for (int64_t i = 0; i < c; i += L)
                store(&padded[(r * stride + 1) * row + (q * stride + 1) * c + i],
                      load(ds + ((n * oh + r) * ow + q) * c + i) * fill(by_row[r] * by_column[q]));
          for (int64_t r = 0; r < h; r++)
            conv.row(padded.data() + r * row, row, ones.data(), out + (n * h + r) * w * c, w, c,
                                1, 1, true);
        }
      }
    });
  });
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
    constexpr int64_t L = Lanes<T>::count;
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
    const T* rights = right ? right->const_data_ptr<T>() : nullptr;
    const T* rows = row ? row->const_data_ptr<T>() : nullptr;
    const int64_t block = block_of(c), blocks = (size + block - 1) / block;
    at::parallel_for(0, shape.n * blocks, 1, [&](int64_t begin, int64_t end) {
      Buffer<T> active(block * c), sum(block * c);
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task / blocks * size + task % blocks * block;
        const int64_t pixels = std::min(block, size - task % blocks * block);
        for (int64_t p = 0; p < pixels; p++)
          for (int64_t i = 0; i < c; i += L) {
            Vec<T> v = rows ? load(rows + i) : Vec<T>{};
            if (drs) v += load(drs + (first + p) * c + i);
            store(&sum[p * c + i], v);
          }
        if (lefts)
          for (size_t j = 0; j < gs.size(); j++)
            gemm<T>(pixels, c, c, gs[j] + first * g_pixel[j], g_pixel[j], lefts + j * c * c, sum.data(), c,
                    true);
        if (rights) {
          for (int64_t i = 0; i < pixels * c; i += L) store(&active[i], relu<T>(load(xs + first * c + i)));
          gemm<T>(pixels, c, c, active.data(), c, rights, sum.data(), c, true);
        }
        T* to = out + first * c;
        for (int64_t i = 0; i < pixels * c; i += L) {
          const Vec<T> v = load(xs + first * c + i);
          store(to + i, v <= Vec<T>{} ? Vec<T>{} : load(&sum[i]));
        }
        if (scale)
          for (size_t j = 0; j < gs.size(); j++) {
            if (scale[j] == T(0)) continue;
            const T* from = gs[j] + first * g_pixel[j];
            for (int64_t p = 0; p < pixels; p++)
              for (int64_t i = 0; i < c; i += L)
                store(to + p * c + i, load(to + p * c + i) + fill(scale[j]) * load(from + p * g_pixel[j] + i));
          }
      }
    });
  });
}

// An uninitialised [N, C, H, W] in channels_last memory format.
Tensor empty_images(at::IntArrayRef sizes, const Tensor& like) {
  TORCH_CHECK(sizes.size() == 4, "sizes must be [N, C, H, W]");
  const int64_t c = sizes[1], h = sizes[2], w = sizes[3];
  return pool().take(sizes, {h * w * c, 1, w * c, c}, like.options());
}

// N(0, 1) into out: piece i has a generator of its own, seeded with seed + i.
void standard_normal(Tensor out, int64_t seed, int64_t piece) {
  TORCH_CHECK(out.is_contiguous(), "out must be contiguous");
  const int64_t size = out.numel(), pieces = (size + piece - 1) / piece;
  Tensor flat = out.view({size});
  at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
    at::AutoDispatchBelowADInplaceOrView guard;
    for (int64_t i = begin; i < end; i++)
      flat.narrow(0, i * piece, std::min(piece, size - i * piece))
          .normal_(0, 1, at::make_generator<at::CPUGeneratorImpl>(uint64_t(seed) + i));
  });
}

}  // namespace

TORCH_LIBRARY(rdarts, m) {
  m.def(
      "separable_forward(Tensor x, Tensor? scale, Tensor? shift, Tensor depthwise, Tensor pointwise, "
      "int stride, int padding, int dilation) -> (Tensor, Tensor)");
  m.def(
      "separable_backward(Tensor[] g, Tensor y, Tensor coefficients, Tensor x, Tensor? scale, "
      "Tensor? shift, Tensor depthwise, Tensor pointwise, int stride, int padding, int dilation, "
      "Tensor(a!)? into, bool accumulate, bool weights) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "mix(Tensor(a!)[] outs, int[] accumulate, Tensor[] terms, int[] edge_of, Tensor scales, "
      "Tensor? shifts, Tensor? x, Tensor? matrices) -> ()");
  m.def("relu6_forward(Tensor x, Tensor scale, Tensor shift) -> Tensor");
  m.def("relu6_backward(Tensor(a!) d, Tensor x, Tensor scale, Tensor shift) -> Tensor");
  m.def(
      "depthwise_forward(Tensor x, Tensor scale, Tensor shift, Tensor weight, int stride, int padding) -> "
      "(Tensor, Tensor)");
  m.def(
      "depthwise_backward(Tensor g, Tensor y, Tensor coefficients, Tensor x, Tensor scale, Tensor shift, "
      "Tensor weight, int stride, int padding, bool weights) -> (Tensor, Tensor, Tensor)");
  m.def("mix_sums(Tensor[] g, Tensor[] terms, int[] edge_of, Tensor? x) -> (Tensor, Tensor, Tensor)");
  m.def("relu_covariance(Tensor x) -> (Tensor, Tensor)");
  m.def("conv3x3_forward(Tensor x, Tensor weight) -> (Tensor, Tensor)");
  m.def(
      "conv3x3_backward(Tensor[] g, Tensor y, Tensor coefficients, Tensor x, Tensor weight, "
      "Tensor(a!) into, bool accumulate, bool weights) -> Tensor");
  m.def("moments(Tensor y) -> Tensor");
  m.def("pointwise_forward(Tensor[] x, Tensor[] weights, int stride) -> (Tensor, Tensor)");
  m.def(
      "pointwise_backward(Tensor g, Tensor y, Tensor coefficients, Tensor[] x, Tensor[] weights, "
      "int stride, bool want_images, bool want_weights) -> (Tensor[], Tensor[])");
  m.def("pool_forward(Tensor x, bool maximum, int stride) -> (Tensor, Tensor)");
  m.def(
      "pool_backward(Tensor dy, Tensor x, Tensor y, bool maximum, int stride, Tensor(a!) dx) -> ()");
  m.def(
      "input_grad(Tensor x, Tensor[] g, Tensor? skips, Tensor? dr, Tensor? left, Tensor? right, "
      "Tensor? row, Tensor(a!) dx) -> ()");
  m.def("standard_normal(Tensor(a!) out, int seed, int piece) -> ()");
  m.def("empty_images(int[] sizes, Tensor like) -> Tensor");
  m.def(
      "batch_norm(Tensor moments, int count, Tensor(a!)? running_mean, Tensor(b!)? running_var, "
      "Tensor? weight, Tensor? bias, float momentum, float eps, bool batch, int[] chosen) -> Tensor");
}

TORCH_LIBRARY_IMPL(rdarts, CPU, m) {
  m.impl("separable_forward", separable_forward);
  m.impl("separable_backward", separable_backward);
  m.impl("relu6_forward", relu6_forward);
  m.impl("relu6_backward", relu6_backward);
  m.impl("depthwise_forward", depthwise_forward);
  m.impl("depthwise_backward", depthwise_backward);
  m.impl("mix", mix);
  m.impl("mix_sums", mix_sums);
  m.impl("relu_covariance", relu_covariance);
  m.impl("conv3x3_forward", conv3x3_forward);
  m.impl("conv3x3_backward", conv3x3_backward);
  m.impl("moments", moments);
  m.impl("pointwise_forward", pointwise_forward);
  m.impl("pointwise_backward", pointwise_backward);
  m.impl("pool_forward", pool_forward);
  m.impl("pool_backward", pool_backward);
  m.impl("input_grad", input_grad);
  m.impl("standard_normal", standard_normal);
  m.impl("empty_images", empty_images);
  m.impl("batch_norm", batch_norm);
}
