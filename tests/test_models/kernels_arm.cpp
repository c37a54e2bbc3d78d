// The kernels that know no tensor, against plain loops in float64, and the noise's numbers: without
// PyTorch, so that a cross-compiler and an emulator suffice. A line each, and 1 where one is wrong.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "normal.h"
#include "depthwise.h"

namespace {

bool all_right = true;

template <typename T>
struct Type;
template <>
struct Type<float> {
  static constexpr const char* name = "float32";
  static constexpr double tolerance = 1e-5;
};
template <>
struct Type<double> {
  static constexpr const char* name = "float64";
  static constexpr double tolerance = 1e-13;
};

template <typename T>
Buffer<T> random(int64_t count) {
  static std::mt19937 generator(0);
  std::uniform_real_distribution<T> uniform(-1, 1);
  Buffer<T> result(count);
  for (T& one : result) one = uniform(generator);
  return result;
}

// The largest distance over the largest number.
template <typename T>
void compare(const char* what, int64_t size, const Buffer<T>& found, const std::vector<double>& expected) {
  double error = 0, scale = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    error = std::max(error, std::abs(found[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  const bool right = found.size() == expected.size() && error <= Type<T>::tolerance * scale;  // a NaN is not
  all_right = all_right && right;
  std::printf("%s %s %d %s\n", what, Type<T>::name, int(size), right ? "right" : "WRONG");
}

template <typename T>
void products(int64_t c) {
  const int64_t pixels = 29, wide = c + 8;
  const Buffer<T> a = random<T>(pixels * c), square = random<T>(c * c), b = random<T>(c * wide);
  for (bool accumulate : {false, true}) {
    for (bool is_square : {true, false}) {
      const int64_t columns = is_square ? c : wide;
      const Buffer<T>& right = is_square ? square : b;
      Buffer<T> out = random<T>(pixels * columns);
      std::vector<double> expected(out.size());
      for (int64_t p = 0; p < pixels; p++)
        for (int64_t j = 0; j < columns; j++) {
          double& sum = expected[p * columns + j];
          sum = accumulate ? out[p * columns + j] : 0;
          for (int64_t k = 0; k < c; k++) sum += double(a[p * c + k]) * right[k * columns + j];
        }
      gemm<T>(pixels, columns, c, a.data(), c, right.data(), out.data(), columns, accumulate);
      compare("gemm", columns, out, expected);
    }
  }
  for (int64_t columns : {c, wide}) {
    const Buffer<T> right = random<T>(pixels * columns);
    Buffer<T> out = random<T>(c * columns);
    std::vector<double> expected(out.begin(), out.end());
    for (int64_t p = 0; p < pixels; p++)
      for (int64_t i = 0; i < c; i++)
        for (int64_t j = 0; j < columns; j++)
          expected[i * columns + j] += double(a[p * c + i]) * right[p * columns + j];
    gram<T>(pixels, a.data(), c, c, right.data(), columns, columns, out.data());
    compare("gram", columns, out, expected);
  }
  const Buffer<T> other = random<T>(pixels * c);
  Buffer<T> found = random<T>(2 * c);
  std::vector<double> expected(found.begin(), found.end());
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t i = 0; i < c; i++) {
      expected[i] += a[p * c + i];
      expected[c + i] += double(a[p * c + i]) * other[p * c + i];
    }
  sums<T>(pixels, c, a.data(), c, other.data(), c, found.data(), found.data() + c);
  compare("sums", c, found, expected);
}

template <typename T>
void depthwise(int64_t k, int64_t c, int64_t stride, int64_t dilation) {
  const int64_t height = 5, width = 11, reach = dilation * (k - 1) + 1;
  const int64_t rows = (height - 1) * stride + reach, row = ((width - 1) * stride + reach) * c;
  const Buffer<T> image = random<T>(rows * row), taps = random<T>(k * k * c);
  const Depthwise<T> kernels = depthwise_kernels<T>(k, c, stride);
  for (bool accumulate : {false, true}) {
    Buffer<T> out = random<T>(height * width * c);
    std::vector<double> expected(out.size(), 0.0);
    if (accumulate) expected.assign(out.begin(), out.end());
    for (int64_t y = 0; y < height; y++) {
      for (int64_t i = 0; i < width * c; i++)
        for (int64_t t = 0; t < k * k; t++)
          expected[y * width * c + i] +=
              double(taps[t * c + i % c]) * image[(y * stride + t / k * dilation) * row +
                                                  (i / c * stride + t % k * dilation) * c + i % c];
      kernels.row(image.data() + y * stride * row, row, taps.data(), out.data() + y * width * c, width, c,
                  stride, dilation, accumulate);
    }
    compare("depthwise", k, out, expected);
  }
  // The gradient of the result lies where the convolution's own steps are: `stride` pixels apart.
  const int64_t g_row = width * stride * c;
  const Buffer<T> g = random<T>(height * g_row);
  Buffer<T> found = random<T>(k * k * c);
  std::vector<double> expected(found.begin(), found.end());
  for (int64_t y = 0; y < height; y++)
    for (int64_t i = 0; i < width * c; i++)
      for (int64_t t = 0; t < k * k; t++)
        expected[t * c + i % c] += double(g[y * g_row + i / c * stride * c + i % c]) *
                                   image[(y * stride + t / k * dilation) * row +
                                         (i / c * stride + t % k * dilation) * c + i % c];
  std::vector<const T*> inputs, grads;
  for (int64_t y = 0; y < height; y++) {
    for (int64_t ky = 0; ky < k; ky++) inputs.push_back(&image[(y * stride + ky * dilation) * row]);
    grads.push_back(&g[y * g_row]);
  }
  kernels.weight_rows(inputs, grads, found.data(), width, c, stride, dilation);
  compare("depthwise_weights", k, found, expected);
}

template <typename T>
void activations() {
  constexpr int64_t count = Lanes<T>::count;
  Buffer<T> x = random<T>(count), once(count), six(count);
  for (T& one : x) one *= 9;
  x[0] = 7, x[1] = -7;
  store(once.data(), relu<T>(load(x.data())));
  store(six.data(), relu6<T>(load(x.data())));
  std::vector<double> expected, clipped;
  for (T one : x) {
    expected.push_back(one > 0 ? one : 0);
    clipped.push_back(std::min<double>(expected.back(), 6));
  }
  compare("relu", count, once, expected);
  compare("relu6", count, six, clipped);
}

// FNV-1a of what lies in memory: the same bits have the same.
template <typename T>
void numbers() {
  std::vector<T> found(5000);
  rdarts::standard_normals((uint64_t(1) << 61) + 12345, 70, found.size(), found.data());
  std::vector<unsigned char> bytes(found.size() * sizeof(T));
  std::memcpy(bytes.data(), found.data(), bytes.size());
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  std::printf("noise %s %016llx\n", Type<T>::name, static_cast<unsigned long long>(hash));
}

template <typename T>
void check() {
  for (int64_t c : {8, 16, 24, 32, 64}) {
    products<T>(c);
    for (int64_t k : {3, 5, 7})
      for (int64_t stride : {1, 2}) depthwise<T>(k, c, stride, k == 7 ? 1 : stride);
  }
  activations<T>();
  numbers<T>();
}

}  // namespace

int main() {
  check<float>();
  check<double>();
  return all_right ? 0 : 1;
}
