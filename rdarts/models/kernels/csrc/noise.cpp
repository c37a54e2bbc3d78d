// Memory of images, and noise.

#include "tensors.h"

namespace {

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
