// Memory of images, and noise.

#include "normal.h"
#include "tensors.h"

namespace {

// An uninitialised [N, C, H, W] in channels_last memory format.
Tensor empty_images(at::IntArrayRef sizes, const Tensor& like) {
  TORCH_CHECK(sizes.size() == 4, "sizes must be [N, C, H, W]");
  const int64_t c = sizes[1], h = sizes[2], w = sizes[3];
  return pool().take(sizes, {h * w * c, 1, w * c, c}, like.options());
}

// Memory of results goes back to the system, see Pool::release.
void release_memory(bool all) { pool().release(all); }

// The first numbers of the sequence of a seed into out.
void standard_normal(Tensor out, int64_t seed) {
  TORCH_CHECK(out.is_contiguous(), "out must be contiguous");
  over_real(out, [&](auto real) {
    using T = decltype(real);
    T* data = out.mutable_data_ptr<T>();
    at::parallel_for(0, out.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
      rdarts::standard_normals(seed, begin, end - begin, data + begin);
    });
  });
}

}  // namespace
