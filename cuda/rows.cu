// Sums of rows on CUDA.
#include "cuda/rows.h"
#include "cuda/rows_kernel.cuh"

namespace drml::cuda {

void add_rows(Context& context, int64_t rows, int64_t length, const float* x, float* sum) {
  DRML_LAUNCH(context, add_rows_kernel, blocks_for(length), kBlock, 0, rows, length, x, sum);
}

}  // namespace drml::cuda
