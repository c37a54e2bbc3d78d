// Memory of large results.

#pragma once

#include <ATen/ATen.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

namespace {

// Memory of large results is kept for the next step: a page of fresh memory costs more than the
// arithmetic on it. A range goes back when its tensor dies, and joins the free ones beside it, so that
// results of other sizes take it. Of a chunk, what was never taken has no pages. As the first range that
// is large enough is taken, what a step does not need lies at the ends of chunks: it goes back to the
// system once nothing was there for kPatience, which one comparison of times each result finds out.
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
    auto give_back = [this, chunk, start, bytes](void*) { put_back(chunk, start, bytes); };
    return at::from_blob(chunk->data + start, sizes, strides, give_back, options);
  }

  // Gives memory back to the system: all that no result is in or, not `all`, that none was in since the
  // last look, which was the last such call or `reserve`'s own, up to kPatience ago.
  void release(bool all) {
    std::lock_guard<std::mutex> guard(mutex_);
    if (all) release_free();
    else release_unused();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kPatience{30};
  static constexpr int64_t kAlign = 64, kSmall = 1 << 16, kChunk = int64_t(1) << 28;
  static constexpr int64_t kHuge = 1 << 21;  // a large page of x86 and ARM
  static constexpr int64_t kPage = 1 << 16;  // the largest of the usual pages

  struct Chunk {
    char* data;
    int64_t size;
    std::map<int64_t, int64_t> free;  // where each free range starts, and its bytes
    int64_t touched = 0;              // what lies behind has no pages
    int64_t reached = 0;              // nothing was behind since the last look

    void take(int64_t end) {
      touched = std::max(touched, end);
      reached = std::max(reached, end);
    }
    bool is_unused() const { return !free.empty() && free.begin()->second == size; }
    int64_t end() const {  // of what is in use
      if (free.empty()) return size;
      const auto last = std::prev(free.end());
      return last->first + last->second == size ? last->first : size;
    }
  };

  // The first range that is large enough: those at the end then stay untouched.
  std::pair<Chunk*, int64_t> reserve(int64_t bytes) {
    std::lock_guard<std::mutex> guard(mutex_);
    if (Clock::now() - looked_ > kPatience) release_unused();
    for (Chunk* chunk : chunks_)
      for (auto range = chunk->free.begin(); range != chunk->free.end(); ++range)
        if (range->second >= bytes) {
          const auto [start, size] = *range;
          chunk->free.erase(range);
          if (size > bytes) chunk->free.emplace(start + bytes, size - bytes);
          chunk->take(start + bytes);
          return {chunk, start};
        }
    drop_unused();  // they are too small
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
    chunks_.back()->take(bytes);
    return {chunks_.back(), 0};
  }

  void put_back(Chunk* chunk, int64_t start, int64_t bytes) {
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

  void drop_unused() {
    drop([](Chunk* chunk) { return chunk->is_unused(); });
  }

  template <typename F>
  void drop(F&& goes) {
    auto gone = [&](Chunk* chunk) {
      if (!goes(chunk)) return false;
      ::operator delete(chunk->data, std::align_val_t(kHuge));
      delete chunk;
      return true;
    };
    chunks_.erase(std::remove_if(chunks_.begin(), chunks_.end(), gone), chunks_.end());
  }

  void release_free() {
    drop_unused();
    for (Chunk* chunk : chunks_) {
      for (const auto& [start, size] : chunk->free) forget(chunk, start, start + size);
      chunk->touched = chunk->reached = chunk->end();
    }
  }

  void release_unused() {
    looked_ = Clock::now();
    drop([](Chunk* chunk) { return chunk->reached == 0; });
    for (Chunk* chunk : chunks_) {
      forget(chunk, chunk->reached, chunk->size);
      chunk->touched = chunk->reached;
      chunk->reached = chunk->end();
    }
  }

  // Whole pages of a range that is free go back to the system.
  static void forget(Chunk* chunk, int64_t start, int64_t end) {
#ifdef __linux__
    start = (start + kPage - 1) / kPage * kPage;
    end = std::min(end, (chunk->touched + kPage - 1) / kPage * kPage) / kPage * kPage;
    if (start < end) madvise(chunk->data + start, end - start, MADV_DONTNEED);
#endif
  }

  std::mutex mutex_;
  std::vector<Chunk*> chunks_;
  Clock::time_point looked_ = Clock::now();
};

Pool& pool() {
  static Pool* instance = new Pool;  // outlives every tensor
  return *instance;
}

}  // namespace
