// Tensors of images in blocks (blocks.h): sums over threads, what an operator of E edges reads and gives.

#pragma once

#include <array>
#include <memory>

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

// Whether the pixels of a batch are so few that threads share the blocks, not the pixels: sums over them are
// short enough for T, and no thread needs the weights' gradients as a whole.
template <typename T>
bool are_few(int64_t pixels, int64_t channels) {
  return pixels <= 1024 && blocks_of<T>(channels) >= 4 * at::get_num_threads();
}

// f(block, how many channels it has) of all blocks, where a channel has `depth` numbers; less than some
// thousand numbers wake no thread.
template <typename T, typename F>
void over_blocks(int64_t channels, int64_t depth, F&& f) {
  const int64_t grain = std::max<int64_t>(1, 8192 / (std::max<int64_t>(1, depth) * kBlock<T>));
  at::parallel_for(0, blocks_of<T>(channels), grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) f(b, std::min(kBlock<T>, channels - b * kBlock<T>));
  });
}

// [blocks, depth, kBlock] of a matrix w [channels, depth].
template <typename T>
Buffer<T> rows_in_blocks(const T* w, int64_t channels, int64_t depth) {
  constexpr int64_t B = kBlock<T>;
  Buffer<T> result(blocks_of<T>(channels) * depth * B);
  over_blocks<T>(channels, depth, [&](int64_t block, int64_t count) {
    const T* from = w + block * B * depth;
    T* to = result.data() + block * B * depth;
    for (int64_t k = 0; k < depth; k++, to += B)
      for (int64_t i = 0; i < B; i++) to[i] = i < count ? from[i * depth + k] : T(0);
  });
  return result;
}

// [blocks, kBlock, depth] of a matrix w [depth, channels]: its columns as rows, those beyond the last 0.
template <typename T>
Buffer<T> columns_in_blocks(const T* w, int64_t depth, int64_t channels) {
  constexpr int64_t B = kBlock<T>;
  Buffer<T> result(blocks_of<T>(channels) * B * depth);
  over_blocks<T>(channels, depth, [&](int64_t block, int64_t count) {
    T* to = result.data() + block * B * depth;
    for (int64_t k = 0; k < depth; k++) {
      const T* from = w + k * channels + block * B;
      for (int64_t i = 0; i < B; i++) to[i * depth + k] = i < count ? from[i] : T(0);
    }
  });
  return result;
}

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
    const int64_t grain = std::max<int64_t>(1, 8192 / (depth * kBlock<T>));
    at::parallel_for(0, rows * blocks, grain, [&](int64_t begin, int64_t end) {
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
    if (!kept) weight = rows_in_blocks(weight_.const_data_ptr<T>(), weight_.size(0), c);
  }
  // `count` pixels of a block from `first` on, for which there is room in `scratch`.
  const T* get(int64_t block, int64_t first, int64_t count, T* scratch) const {
    if (kept) return kept + (block * pixels + first) * kBlock<T>;
    to_block<T>(count, x + first * c, c, c, weight.data() + block * c * kBlock<T>, scratch);
    return scratch;
  }
};

// Scale and shift of an edge's batch norm, or the coefficients of its backward, in blocks.
template <typename T>
struct Rows {
  std::vector<Buffer<T>> rows;
  // The rows from `first` on of [rows, E, channels] in float64.
  Rows(const Tensor& all, int64_t first, int64_t edge) {
    TORCH_CHECK(all.dim() == 3 && all.is_contiguous() && all.scalar_type() == at::kDouble,
                "a batch norm or its coefficients must be contiguous [rows, E, C] in float64");
    const int64_t edges = all.size(1), c = all.size(2);
    for (int64_t r = first; r < all.size(0); r++)
      rows.push_back(vector_in_blocks<T>(all.const_data_ptr<double>() + (r * edges + edge) * c, c));
  }
  const T* at(int64_t row, int64_t block) const { return rows[row].data() + block * kBlock<T>; }
};

optional<Tensor> edge_of(const optional<Tensor>& t, int64_t edge) {
  return t ? optional<Tensor>(t->select(0, edge)) : t;
}

// What each edge gave as one tensor, which a single edge has already.
Tensor stacked(const std::vector<Tensor>& each) { return each.size() == 1 ? each[0].unsqueeze(0) : at::stack(each); }

// The N results of run(e) of each edge, each of them stacked.
template <size_t N, typename F>
std::array<Tensor, N> by_edge(int64_t edges, F&& run) {
  std::array<std::vector<Tensor>, N> found;
  for (int64_t e = 0; e < edges; e++) {
    const std::array<Tensor, N> one = run(e);
    for (size_t i = 0; i < N; i++) found[i].push_back(one[i]);
  }
  std::array<Tensor, N> result;
  for (size_t i = 0; i < N; i++) result[i] = stacked(found[i]);
  return result;
}

void check_images(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && x.is_contiguous(), "x must be contiguous [N, H, W, C]");
  check_channels(x.size(3));
}

}  // namespace
