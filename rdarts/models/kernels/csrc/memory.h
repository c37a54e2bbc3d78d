// Memory of large results.

#pragma once

#include <ATen/ATen.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

namespace {

// Memory of large results is kept for the next step: a page of fresh memory costs more than the
// arithmetic on it. A range goes back when its tensor dies, and joins the free ones beside it, so that
// results of other sizes take it. Of a chunk, what was never taken has no pages.
class Pool {
 public:
  at::Tensor take(at::IntArrayRef sizes, at::IntArrayRef strides, const at::TensorOptions& options) {
    int64_t bytes = options.dtype().itemsize();
    for (int64_t size : sizes) bytes *= size;
    if (bytes < kSmall) return at::empty_strided(sizes, strides, options);
    bytes = (bytes + kAlign - 1) / kAlign * kAlign;
    Chunk* chunk;
    int64_t start;
    std::tie(chunk, start) = reserve(bytes);
    auto give_back = [this, chunk, start, bytes](void*) { release(chunk, start, bytes); };
    return at::from_blob(chunk->data + start, sizes, strides, give_back, options);
  }

 private:
  static constexpr int64_t kAlign = 64, kSmall = 1 << 16, kChunk = int64_t(1) << 28;
  static constexpr int64_t kHuge = 1 << 21;  // a large page of x86 and ARM

  struct Chunk {
    char* data;
    int64_t size;
    std::map<int64_t, int64_t> free;  // where each free range starts, and its bytes
  };

  // The first range that is large enough: those at the end then stay untouched.
  std::pair<Chunk*, int64_t> reserve(int64_t bytes) {
    std::lock_guard<std::mutex> guard(mutex_);
    for (Chunk* chunk : chunks_)
      for (auto range = chunk->free.begin(); range != chunk->free.end(); ++range)
        if (range->second >= bytes) {
          const auto [start, size] = *range;
          chunk->free.erase(range);
          if (size > bytes) chunk->free.emplace(start + bytes, size - bytes);
          return {chunk, start};
        }
    drop_unused();
    int64_t size = std::max(bytes, kChunk);
    void* data = ::operator new(size, std::align_val_t(kHuge), std::nothrow);
    if (data == nullptr) {  // where memory that has no pages yet counts, too
      size = bytes;
      data = ::operator new(size, std::align_val_t(kHuge));
    }
#ifdef MADV_HUGEPAGE
    // A walk through a large result meets a new page of 4 KB at every other row.
    if (size >= kHuge) madvise(data, size / kHuge * kHuge, MADV_HUGEPAGE);
#endif
    chunks_.push_back(new Chunk{static_cast<char*>(data), size, {}});
    if (size > bytes) chunks_.back()->free.emplace(bytes, size - bytes);
    return {chunks_.back(), 0};
  }

  void release(Chunk* chunk, int64_t start, int64_t bytes) {
    std::lock_guard<std::mutex> guard(mutex_);
    auto& free = chunk->free;
    auto after = free.lower_bound(start);
    if (after != free.end() && after->first == start + bytes) {
      bytes += after->second;
      after = free.erase(after);
    }
    if (after != free.begin()) {
      auto before = std::prev(after);
      if (before->first + before->second == start) {
        before->second += bytes;
        return;
      }
    }
    free.emplace_hint(after, start, bytes);
  }

  // Chunks that nothing is in are too small for what is asked for.
  void drop_unused() {
    auto unused = [](Chunk* chunk) {
      if (chunk->free.empty() || chunk->free.begin()->second < chunk->size) return false;
      ::operator delete(chunk->data, std::align_val_t(kHuge));
      delete chunk;
      return true;
    };
    chunks_.erase(std::remove_if(chunks_.begin(), chunks_.end(), unused), chunks_.end());
  }

  std::mutex mutex_;
  std::vector<Chunk*> chunks_;
};

Pool& pool() {
  static Pool* instance = new Pool;  // outlives every tensor
  return *instance;
}

}  // namespace
