// Dropout by counter-based random numbers: element i of the order of the axes is kept or not by
// word i % 4 of block i / 4, whatever its place in memory and whichever thread comes by. The
// backward pass draws the same numbers again, so no mask is stored.
#include "cuda/context.h"
#include "cuda/dropout_kernel.cuh"
#include "cuda/strided.h"
#include "dropout_rule.h"
#include "ops.h"

namespace drml {

void cuda::dropout(const Tensor& x, const Tensor& y, float ratio, uint64_t key, uint64_t position) {
  const DropoutRule rule = make_dropout_rule(x, y, ratio);
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  const Strided<1> layout = merge_axes("dropout", axes_of(x));
  DRML_LAUNCH(context, dropout_kernel, blocks_for((n + 3) / 4), kBlock, 0, layout, n, x.data(),
              y.data(), rule.scale, rule.threshold, key, position);
}

}  // namespace drml
