// What several ops end with: rows of scratch memory, added to a gradient.
#pragma once

#include <cstdint>

#include "cuda/context.h"

namespace drml::cuda {

// sum (length) += the sum of the rows of x (rows, length), in their order.
void add_rows(Context& context, int64_t rows, int64_t length, const float* x, float* sum);

}  // namespace drml::cuda
