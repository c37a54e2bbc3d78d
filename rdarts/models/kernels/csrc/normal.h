// Normal numbers as a function of a seed and of their place in its sequence.

#pragma once

#include <cstdint>

namespace rdarts {

// Numbers first to first + count - 1 of the sequence of a seed.
void standard_normals(uint64_t seed, int64_t first, int64_t count, float* out);
void standard_normals(uint64_t seed, int64_t first, int64_t count, double* out);

}  // namespace rdarts
