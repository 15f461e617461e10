// What local.cpp asks of the instruction sets: the filters of one location and a block of images.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace drml {

// Sizes of what the kernels see.
//
// Filters are rows of `depth` numbers, one after another. A map is kept as padded planes of blocks
// of images, (channels, rows, columns, block): the images of a block lie side by side. The window
// that a filter sees is the address of its first number, and `offsets` say for each number of a
// filter how far it is from there.
struct LocalGeometry {
  int64_t outputs;
  int64_t depth;
  int64_t block;
  const int64_t* offsets;
};

struct LocalKernels {
  // A block is so many images, or twice as many.
  int64_t lanes;

  // y (outputs, block) = filters times the window + bias, which may be null.
  void (*correlate)(const LocalGeometry&, const float* filters, const float* window,
                    const float* bias, float* y);

  // The window += transposed filters times dy (outputs, block).
  void (*spread)(const LocalGeometry&, const float* filters, const float* dy, float* window);

  // dfilters += dy (outputs, block) times the windows of the first `images` images of the block,
  // as rows in the order of the filters, `stride` from one to the next.
  void (*accumulate)(const LocalGeometry&, int64_t images, const float* dy, const float* windows,
                     int64_t stride, float* dfilters);
};

namespace portable {
extern const LocalKernels local_kernels;
}
namespace avx2 {
extern const LocalKernels local_kernels;
}
namespace avx512 {
extern const LocalKernels local_kernels;
}

}  // namespace drml
