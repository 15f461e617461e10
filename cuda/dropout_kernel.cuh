// The kernel of dropout.
#pragma once

#include "elementwise.cuh"
#include "philox.h"
#include "strided.cuh"

namespace drml {
namespace cuda {

// One thread draws four numbers at a time, for four elements in the order of the axes; y may be x.
__global__ void dropout_kernel(Strided<1> layout, int64_t n, const float* x, float* y, float scale,
                               uint64_t threshold, uint64_t key, uint64_t position) {
  const bool quads = layout.axes == 1 && hold_quads(x, y);
  const auto drop = [=](float in, uint32_t word) { return word < threshold ? 0 : in * scale; };
  DRML_GRID_LOOP(block, (n + 3) / 4) {
    const PhiloxBits bits = philox(static_cast<uint64_t>(block), position, key);
    if (quads && 4 * block + 4 <= n) {
      const Quad<const float> in(x, block);
      Quad<float> out(y, block);
      out.v.x = drop(in.v.x, bits.word[0]);
      out.v.y = drop(in.v.y, bits.word[1]);
      out.v.z = drop(in.v.z, bits.word[2]);
      out.v.w = drop(in.v.w, bits.word[3]);
      out.store();
    } else {
      for (int i = 0; i < 4 && 4 * block + i < n; ++i) {
        int64_t at[1];
        layout.locate(4 * block + i, at);
        y[at[0]] = drop(x[at[0]], bits.word[i]);
      }
    }
  }
}

}  // namespace cuda
}  // namespace drml
