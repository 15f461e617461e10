// What region.cpp asks of the instruction sets: work on one patch of one image at a time.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

namespace drml {

// A patch inside a channels-last map, and the tile that holds one patch with its zero border.
// A tile is (patch_h + 2 pad) x (patch_w + 2 pad) pixels of `depth` numbers: the channels, then
// zeros up to a multiple of `block`.
struct RegionGeometry {
  int64_t channels;
  int64_t patch_h;
  int64_t patch_w;
  int64_t kernel;
  int64_t pad;
  int64_t row_stride;  // numbers from one row of the map to the next
  int64_t block;       // output channels that the kernels compute together
  int64_t depth;

  int64_t tile_row() const { return (patch_w + 2 * pad) * depth; }
  int64_t tile_size() const { return (patch_h + 2 * pad) * tile_row(); }
  // Packed weights: (depth / block, kernel, kernel, depth inputs, block outputs).
  int64_t packed_size() const { return kernel * kernel * depth * depth; }
};

struct RegionKernels {
  int64_t block;

  // mean and sum of squared deviations of each channel over the patch.
  void (*moments)(const RegionGeometry&, const float* x, float* mean, float* squares);

  // tile interior = relu((x - mean) * scale).
  void (*normalize)(const RegionGeometry&, const float* x, const float* mean, const float* scale,
                    float* tile);

  // out = residual + bias + the tile convolved with packed weights; residual and bias may be null.
  void (*convolve)(const RegionGeometry&, const float* tile, const float* packed, const float* bias,
                   const float* residual, float* out);

  // packed gradient += the tile correlated with the interior of dy_tile.
  void (*correlate)(const RegionGeometry&, const float* tile, const float* dy_tile, float* packed);

  // dz becomes 0 where the tile is 0; sums of dz and of dz * z are added.
  void (*mask)(const RegionGeometry&, const float* tile, float* dz, double* sum, double* sum_z);

  // dx = dy + scale * (dz - mean_dz - z * mean_dz_z), where dx holds dz and z = (x - mean) * scale.
  void (*combine)(const RegionGeometry&, const float* x, const float* dy, const float* mean,
                  const float* scale, const float* mean_dz, const float* mean_dz_z, float* dx);
};

namespace portable {
extern const RegionKernels region_kernels;
}
namespace avx2 {
extern const RegionKernels region_kernels;
}
namespace avx512 {
extern const RegionKernels region_kernels;
}

}  // namespace drml
