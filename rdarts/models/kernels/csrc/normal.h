// Normal numbers as a function of a seed and of their place in its sequence.

#pragma once

#include <cstdint>

namespace rdarts {

// Numbers that are drawn together: of a part of such a block the others are thrown away.
constexpr int64_t kNormals = 256;

// Numbers first to first + count - 1 of the sequence of a seed.
void standard_normals(uint64_t seed, int64_t first, int64_t count, float* out);
void standard_normals(uint64_t seed, int64_t first, int64_t count, double* out);

}  // namespace rdarts
