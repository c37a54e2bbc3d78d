// The operators of torch.ops.rdarts, for CPUs, float32 and float64: one unit, so that the compiler
// inlines across files. Images are [N, H, W, C] in memory (channels_last), C a multiple of 8. Batch
// norm statistics need a pass over the whole batch, so each operator is what can be done between two
// of them while an image's rows are in the cache. backends/torch.py holds the same functions in
// PyTorch: they are the reference, and the fallback.

#include "batch_norm.cpp"
#include "dense.cpp"
#include "inverted.cpp"
#include "mixing.cpp"
#include "noise.cpp"
#include "pointwise.cpp"
#include "pool.cpp"
#include "separable.cpp"

namespace {

// A kernel whose calls of PyTorch's functions pass by all that autograd adds to them: it has no part in
// what happens in here, and asking it costs more than many of these functions themselves.
template <auto kernel, typename = decltype(kernel)>
struct Below;
template <auto kernel, typename R, typename... Args>
struct Below<kernel, R (*)(Args...)> {
  static R call(Args... args) {
    at::AutoDispatchBelowADInplaceOrView below;
    return kernel(std::forward<Args>(args)...);
  }
};

}  // namespace

TORCH_LIBRARY(rdarts, m) {
  m.def(
      "separable_forward(Tensor x, Tensor? norm, Tensor depthwise, Tensor pointwise, int stride, "
      "int padding, int dilation) -> (Tensor, Tensor)");
  m.def(
      "separable_backward(Tensor[] g, Tensor y, Tensor coefficients, Tensor x, Tensor? norm, "
      "Tensor depthwise, Tensor pointwise, int stride, int padding, int dilation, "
      "Tensor(a!)? into, bool accumulate, bool weights) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "separable_folded(Tensor x, Tensor[] depthwise, Tensor[] pointwise, Tensor[] norms, float[] eps, "
      "int[] convs, Tensor(a!) out, bool accumulate) -> ()");
  m.def(
      "mix(Tensor(a!)[] outs, int[] accumulate, Tensor[] terms, int[] edge_of, Tensor scales, "
      "Tensor? shifts, Tensor? x, Tensor? matrices) -> ()");
  m.def("expand_forward(Tensor x, Tensor weight) -> (Tensor, Tensor)");
  m.def(
      "depthwise_forward(Tensor x, Tensor expand, Tensor? wide, Tensor norm, Tensor weight, int stride, "
      "int padding) -> (Tensor, Tensor)");
  m.def("project_forward(Tensor x, Tensor norm, Tensor weight) -> (Tensor, Tensor)");
  m.def(
      "project_backward(Tensor[] g, Tensor y, Tensor coefficients, Tensor x, Tensor norm, Tensor weight, "
      "bool weights) -> (Tensor, Tensor, Tensor)");
  m.def(
      "depthwise_backward(Tensor g, Tensor y, Tensor coefficients, Tensor x, Tensor expand, Tensor? wide, "
      "Tensor norm, Tensor weight, int stride, int padding, Tensor(a!) into, bool weights) -> "
      "(Tensor, Tensor, Tensor)");
  m.def("mix_sums(Tensor[] g, Tensor[] terms, int[] edge_of, Tensor? x) -> (Tensor, Tensor, Tensor)");
  m.def("covariance(Tensor x, bool active) -> (Tensor, Tensor)");
  m.def("conv3x3_forward(Tensor x, Tensor weight) -> (Tensor, Tensor)");
  m.def(
      "conv3x3_backward(Tensor[] g, Tensor y, Tensor coefficients, Tensor x, Tensor weight, "
      "Tensor(a!) into, bool accumulate, bool weights) -> Tensor");
  m.def("moments(Tensor y) -> Tensor");
  m.def("pointwise_forward(Tensor[] x, Tensor[] weights, int stride) -> (Tensor, Tensor)");
  m.def(
      "pointwise_folded(Tensor[] x, Tensor[] weights, Tensor[] norm, float eps, int stride, int real, "
      "int outputs) -> Tensor");
  m.def(
      "pointwise_backward(Tensor g, Tensor y, Tensor coefficients, Tensor[] x, Tensor[] weights, "
      "int stride, bool want_images, bool want_weights) -> (Tensor[], Tensor[])");
  m.def("pool_forward(Tensor x, bool maximum, int stride) -> (Tensor, Tensor)");
  m.def(
      "pool_backward(Tensor dy, Tensor x, Tensor y, bool maximum, int stride, Tensor(a!) dx) -> ()");
  m.def(
      "input_grad(Tensor x, Tensor[] g, Tensor? skips, Tensor? dr, Tensor? left, Tensor? right, "
      "Tensor? row, Tensor(a!) dx) -> ()");
  m.def("standard_normal(Tensor(a!) out, int seed) -> ()");
  m.def("release_memory(bool all) -> ()", release_memory);
  m.def("empty_images(int[] sizes, Tensor like) -> Tensor");
  m.def(
      "batch_norm(Tensor moments, int count, Tensor(a!)? running_mean, Tensor(b!)? running_var, "
      "Tensor? weight, Tensor? bias, float momentum, float eps, bool batch, int[] chosen) -> Tensor");
  m.def(
      "batch_norm_backward(Tensor norm, bool batch, Tensor? by_edge, int count, Tensor total, "
      "Tensor product, Tensor? beta) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "mixture(Tensor[] moments, Tensor(a!)[] running, Tensor[] affine, int[] chosen, int[] forms, "
      "float[] numbers, int count, Tensor betas, Tensor places, Tensor edges, int num_edges, int channels, "
      "Tensor like) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "mixture_backward(Tensor norm, bool batch, Tensor? by_edge, int count, Tensor totals, Tensor product, "
      "Tensor beta, Tensor edges, Tensor places, Tensor betas) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def("shared_gradient(Tensor[] g, Tensor y, Tensor coefficients) -> Tensor");
}

TORCH_LIBRARY_IMPL(rdarts, CPU, m) {
  m.impl("separable_forward", Below<separable_forward>::call);
  m.impl("separable_backward", Below<separable_backward>::call);
  m.impl("separable_folded", Below<separable_folded>::call);
  m.impl("expand_forward", Below<expand_forward>::call);
  m.impl("depthwise_forward", Below<depthwise_forward>::call);
  m.impl("project_forward", Below<project_forward>::call);
  m.impl("project_backward", Below<project_backward>::call);
  m.impl("depthwise_backward", Below<depthwise_backward>::call);
  m.impl("mix", Below<mix>::call);
  m.impl("mix_sums", Below<mix_sums>::call);
  m.impl("covariance", Below<covariance>::call);
  m.impl("conv3x3_forward", Below<conv3x3_forward>::call);
  m.impl("conv3x3_backward", Below<conv3x3_backward>::call);
  m.impl("moments", Below<moments>::call);
  m.impl("pointwise_forward", Below<pointwise_forward>::call);
  m.impl("pointwise_backward", Below<pointwise_backward>::call);
  m.impl("pointwise_folded", Below<pointwise_folded>::call);
  m.impl("pool_forward", Below<pool_forward>::call);
  m.impl("pool_backward", Below<pool_backward>::call);
  m.impl("input_grad", Below<input_grad>::call);
  m.impl("standard_normal", Below<standard_normal>::call);
  m.impl("empty_images", Below<empty_images>::call);
  m.impl("batch_norm", Below<batch_norm>::call);
  m.impl("batch_norm_backward", Below<batch_norm_backward>::call);
  m.impl("mixture", Below<mixture>::call);
  m.impl("mixture_backward", Below<mixture_backward>::call);
  m.impl("shared_gradient", Below<shared_gradient>::call);
}
