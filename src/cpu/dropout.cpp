// Dropout by counter-based random numbers: element i of the order of the axes is kept or not by
// word i % 4 of block i / 4, whatever its place in memory and whichever thread comes by. The
// backward pass draws the same numbers again, so no mask is stored.
#include <algorithm>

#include "cpu/elementwise.h"
#include "dropout_rule.h"
#include "ops.h"
#include "philox.h"

namespace drml {

void cpu::dropout(const Tensor& x, const Tensor& y, float ratio, uint64_t key, uint64_t position) {
  const DropoutRule rule = make_dropout_rule(x, y, ratio);
  const bool row_major = x.is_row_major();
  const int64_t size = x.size();
  const float* px = x.data();
  float* py = y.data();
#pragma omp parallel for schedule(static) if (size > kParallelSize)
  for (int64_t block = 0; block < (size + 3) / 4; ++block) {
    const PhiloxBits bits = philox(static_cast<uint64_t>(block), position, key);
    for (int64_t i = 4 * block; i < std::min(4 * block + 4, size); ++i) {
      const int64_t at = row_major ? i : element_offset(x, i);
      py[at] = bits.word[i % 4] < rule.threshold ? 0 : px[at] * rule.scale;
    }
  }
}

}  // namespace drml
