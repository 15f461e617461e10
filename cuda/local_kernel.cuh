// Kernels of the locally connected layer over row-major maps.
//
// The filters of a location are read by this location alone, so what counts is that each number of
// theirs is fetched once and multiplied with as many images as possible. All of the kernels give a
// thread some outputs or numbers of a filter, times some images, to add up in registers.
#pragma once

#include "portable.h"
#include "reduce.cuh"

namespace drml {
namespace cuda {

struct LocalMap {
  int images;
  int channels, rows, columns;          // of x
  int outputs, locations, out_columns;  // of y
  int kernel_h, kernel_w;
  int stride_h, stride_w;
  int pad_h, pad_w;
  int group_channels;
  int group_outputs;

  __host__ __device__ int taps() const { return kernel_h * kernel_w; }
  __device__ int depth() const { return group_channels * taps(); }  // numbers of a filter
  __device__ int64_t image_size() const { return static_cast<int64_t>(channels) * rows * columns; }
  __device__ int64_t filter(int location, int output) const {
    return (static_cast<int64_t>(location) * outputs + output) * depth();
  }
  __device__ int64_t out(int image, int output, int location) const {
    return (static_cast<int64_t>(image) * outputs + output) * locations + location;
  }
};

// Place in its window of a number of the filters of a group.
struct LocalTap {
  __device__ LocalTap(const LocalMap& map, int group, int number)
      : plane(group * map.group_channels + number / map.taps()),
        row(number / map.kernel_w % map.kernel_h - map.pad_h),
        column(number % map.kernel_w - map.pad_w) {}

  // Where it lies in an image for the window of a location; -1: in the padding.
  __device__ int offset(const LocalMap& map, int out_row, int out_column) const {
    const int r = out_row * map.stride_h + row;
    const int c = out_column * map.stride_w + column;
    if (r < 0 || r >= map.rows || c < 0 || c >= map.columns) return -1;
    return (plane * map.rows + r) * map.columns + c;
  }

  int plane;
  int row;
  int column;
};

__device__ inline int local_minimum(int a, int b) { return a < b ? a : b; }

// Outputs of a group are computed 16 at a time.
constexpr int kLocalOutputs = 16;

// How forward cuts its work: outputs of one location, times images; blocks that share filters
// follow each other.
constexpr int kLocalForwardThreads = 64;
constexpr int kLocalLanes = 32;
constexpr int kLocalLaneOutputs = 8;
constexpr int kLocalDepth = 16;  // numbers of the filters that are at hand at a time

// A block computes 16 outputs of one location, for 32 * kImages images; a thread 8 of the outputs,
// for kImages of the images.
template <int kImages>
__global__ void __launch_bounds__(kLocalForwardThreads)
    local_forward_kernel(LocalMap map, int output_tiles, int image_tiles,
                         const float* __restrict__ x, const float* __restrict__ weight,
                         const float* __restrict__ bias, bool bias_per_location,
                         float* __restrict__ y) {
  constexpr int kTileImages = kLocalLanes * kImages;
  // Rows are longer than they need to be so that neighbouring threads write to different banks.
  __shared__ float4 filters[kLocalDepth][kLocalOutputs / 4 + 1];
  __shared__ float patches[kLocalDepth][kTileImages + 2];

  const int first_image = static_cast<int>(blockIdx.x % image_tiles) * kTileImages;
  const int tile = static_cast<int>(blockIdx.x / image_tiles);
  const int tiles_of_group = (map.group_outputs + kLocalOutputs - 1) / kLocalOutputs;
  const int location = tile / output_tiles;
  const int group = tile % output_tiles / tiles_of_group;
  const int first_in_group = tile % tiles_of_group * kLocalOutputs;
  const int outputs = local_minimum(kLocalOutputs, map.group_outputs - first_in_group);
  const int first_output = group * map.group_outputs + first_in_group;
  const int depth = map.depth();

  const int lane = threadIdx.x % kLocalLanes;
  const int quads = threadIdx.x / kLocalLanes * (kLocalLaneOutputs / 4);
  const int number = threadIdx.x % kLocalDepth;
  float sum[kLocalLaneOutputs][kImages];
#pragma unroll
  for (int k = 0; k < kLocalLaneOutputs; ++k) {
#pragma unroll
    for (int i = 0; i < kImages; ++i) sum[k][i] = 0;
  }

  for (int first = 0; first < depth; first += kLocalDepth) {
    // Beyond the end of a filter, of the outputs or of the images there are zeros.
    const bool exists = first + number < depth;
    const LocalTap tap(map, group, first + number);
    const int offset =
        exists ? tap.offset(map, location / map.out_columns, location % map.out_columns) : -1;
    for (int k = threadIdx.x / kLocalDepth; k < kLocalOutputs;
         k += kLocalForwardThreads / kLocalDepth) {
      reinterpret_cast<float*>(filters[number])[k] =
          exists && k < outputs ? weight[map.filter(location, first_output + k) + first + number]
                                : 0;
    }
#pragma unroll 8
    for (int i = threadIdx.x / kLocalDepth; i < kTileImages;
         i += kLocalForwardThreads / kLocalDepth) {
      patches[number][i] = offset >= 0 && first_image + i < map.images
                               ? x[(first_image + i) * map.image_size() + offset]
                               : 0;
    }
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kLocalDepth; ++d) {
      const float4 low = filters[d][quads];
      const float4 high = filters[d][quads + 1];
      const float w[kLocalLaneOutputs] = {low.x,  low.y,  low.z,  low.w,
                                          high.x, high.y, high.z, high.w};
#pragma unroll
      for (int i = 0; i < kImages; ++i) {
        const float value = patches[d][lane + i * kLocalLanes];
#pragma unroll
        for (int k = 0; k < kLocalLaneOutputs; ++k) sum[k][i] += w[k] * value;
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int k = 0; k < kLocalLaneOutputs; ++k) {
    const int in_tile = quads * 4 + k;
    if (in_tile >= outputs) break;
    const int output = first_output + in_tile;
    float offset = 0;
    if (bias != nullptr) {
      offset =
          bias[bias_per_location ? static_cast<int64_t>(location) * map.outputs + output : output];
    }
#pragma unroll
    for (int i = 0; i < kImages; ++i) {
      const int image = first_image + lane + i * kLocalLanes;
      if (image < map.images) y[map.out(image, output, location)] = sum[k][i] + offset;
    }
  }
}

// Both gradients give each thread two numbers of the filters.
constexpr int kLocalBackwardThreads = 128;
constexpr int kLocalNumbers = 2;
constexpr int kLocalTileNumbers = kLocalBackwardThreads * kLocalNumbers;
constexpr int kLocalImages = 16;        // that dx of a block is for
constexpr int kLocalImagesAtOnce = 32;  // whose dy is at hand at a time for dweight

// The tiles of one color, see LocalTiles.
struct LocalTileGrid {
  int across;         // tiles from left to right
  int rows, columns;  // locations of a tile
  int row_parity, column_parity;
};

// Channels of x that a block of dx does. All that is added to a channel within a tile comes from
// one block, so no filter is cut within a channel.
__host__ __device__ inline int local_tile_channels(const LocalMap& map) {
  return map.taps() < kLocalTileNumbers ? kLocalTileNumbers / map.taps() : 1;
}

// Adds to dx what the locations of the tiles of one color give, whose windows in other tiles do not
// meet. A block does some channels of one tile for 16 images: 256 numbers of the filters at a time,
// location after location; a thread two of the numbers.
__global__ void __launch_bounds__(kLocalBackwardThreads)
    local_dx_kernel(LocalMap map, LocalTileGrid grid, int channel_tiles, int image_tiles,
                    const float* __restrict__ weight, const float* __restrict__ dy, float* dx) {
  __shared__ float4 gradients[kLocalOutputs][kLocalImages / 4];

  const int first_image = static_cast<int>(blockIdx.x % image_tiles) * kLocalImages;
  const int channel_tile = static_cast<int>(blockIdx.x / image_tiles % channel_tiles);
  const int tile = static_cast<int>(blockIdx.x / image_tiles / channel_tiles);
  const int tile_channels = local_tile_channels(map);
  const int tiles_of_group = (map.group_channels + tile_channels - 1) / tile_channels;
  const int group = channel_tile / tiles_of_group;
  const int first_channel = channel_tile % tiles_of_group * tile_channels;
  const int end_channel = local_minimum(first_channel + tile_channels, map.group_channels);
  const int end_number = end_channel * map.taps();
  const int first_row = (tile / grid.across * 2 + grid.row_parity) * grid.rows;
  const int first_column = (tile % grid.across * 2 + grid.column_parity) * grid.columns;
  const int end_row = local_minimum(first_row + grid.rows, map.locations / map.out_columns);
  const int end_column = local_minimum(first_column + grid.columns, map.out_columns);

  for (int first_number = first_channel * map.taps(); first_number < end_number;
       first_number += kLocalTileNumbers) {
    const int number = first_number + threadIdx.x;
    const int numbers[kLocalNumbers] = {number, number + kLocalBackwardThreads};
    const LocalTap taps[kLocalNumbers] = {LocalTap(map, group, numbers[0]),
                                          LocalTap(map, group, numbers[1])};
    for (int row = first_row; row < end_row; ++row) {
      for (int column = first_column; column < end_column; ++column) {
        const int location = row * map.out_columns + column;
        float sum[kLocalNumbers][kLocalImages];
#pragma unroll
        for (int j = 0; j < kLocalNumbers; ++j) {
#pragma unroll
          for (int i = 0; i < kLocalImages; ++i) sum[j][i] = 0;
        }
        for (int first = 0; first < map.group_outputs; first += kLocalOutputs) {
          const int outputs = local_minimum(kLocalOutputs, map.group_outputs - first);
          const int first_output = group * map.group_outputs + first;
          // Nobody reads gradients, or adds to dx for the location before, from here on.
          __syncthreads();
          for (int i = threadIdx.x; i < kLocalOutputs * kLocalImages; i += kLocalBackwardThreads) {
            const int k = i / kLocalImages;
            const int image = first_image + i % kLocalImages;
            reinterpret_cast<float*>(gradients[k])[i % kLocalImages] =
                k < outputs && image < map.images ? dy[map.out(image, first_output + k, location)]
                                                  : 0;
          }
          __syncthreads();
          const float* filter = weight + map.filter(location, first_output);
#pragma unroll 4
          for (int k = 0; k < outputs; ++k, filter += map.depth()) {
            float w[kLocalNumbers];
#pragma unroll
            for (int j = 0; j < kLocalNumbers; ++j) {
              w[j] = numbers[j] < end_number ? filter[numbers[j]] : 0;
            }
#pragma unroll
            for (int quad = 0; quad < kLocalImages / 4; ++quad) {
              const float4 g = gradients[k][quad];
#pragma unroll
              for (int j = 0; j < kLocalNumbers; ++j) {
                sum[j][quad * 4] += w[j] * g.x;
                sum[j][quad * 4 + 1] += w[j] * g.y;
                sum[j][quad * 4 + 2] += w[j] * g.z;
                sum[j][quad * 4 + 3] += w[j] * g.w;
              }
            }
          }
        }
#pragma unroll
        for (int j = 0; j < kLocalNumbers; ++j) {
          const int offset = numbers[j] < end_number ? taps[j].offset(map, row, column) : -1;
          if (offset < 0) continue;
#pragma unroll
          for (int i = 0; i < kLocalImages; ++i) {
            if (first_image + i < map.images) {
              dx[(first_image + i) * map.image_size() + offset] += sum[j][i];
            }
          }
        }
      }
    }
  }
}

// A block adds to 256 numbers of 16 filters of one location, over all images, or writes them; a
// thread two of the numbers of each filter.
__global__ void __launch_bounds__(kLocalBackwardThreads)
    local_dweight_kernel(LocalMap map, int output_tiles, int number_tiles,
                         const float* __restrict__ x, const float* __restrict__ dy, bool overwrite,
                         float* __restrict__ dweight) {
  __shared__ float4 gradients[kLocalImagesAtOnce][kLocalOutputs / 4];

  const int number_tile = static_cast<int>(blockIdx.x % number_tiles);
  const int tile = static_cast<int>(blockIdx.x / number_tiles);
  const int tiles_of_group = (map.group_outputs + kLocalOutputs - 1) / kLocalOutputs;
  const int location = tile / output_tiles;
  const int group = tile % output_tiles / tiles_of_group;
  const int first_in_group = tile % tiles_of_group * kLocalOutputs;
  const int outputs = local_minimum(kLocalOutputs, map.group_outputs - first_in_group);
  const int first_output = group * map.group_outputs + first_in_group;
  const int depth = map.depth();

  int numbers[kLocalNumbers];
  int offsets[kLocalNumbers];
  float sum[kLocalNumbers][kLocalOutputs];
#pragma unroll
  for (int j = 0; j < kLocalNumbers; ++j) {
    numbers[j] = number_tile * kLocalTileNumbers + threadIdx.x + j * kLocalBackwardThreads;
    const LocalTap tap(map, group, numbers[j]);
    offsets[j] = numbers[j] < depth
                     ? tap.offset(map, location / map.out_columns, location % map.out_columns)
                     : -1;
#pragma unroll
    for (int k = 0; k < kLocalOutputs; ++k) sum[j][k] = 0;
  }
  for (int first = 0; first < map.images; first += kLocalImagesAtOnce) {
    const int images = local_minimum(kLocalImagesAtOnce, map.images - first);
    for (int i = threadIdx.x; i < kLocalImagesAtOnce * kLocalOutputs; i += kLocalBackwardThreads) {
      const int image = i / kLocalOutputs;
      const int k = i % kLocalOutputs;
      reinterpret_cast<float*>(gradients[image])[k] =
          k < outputs && image < images ? dy[map.out(first + image, first_output + k, location)]
                                        : 0;
    }
    __syncthreads();
#pragma unroll 4
    for (int i = 0; i < images; ++i) {
      const float* window = x + (first + i) * map.image_size();
      float value[kLocalNumbers];
#pragma unroll
      for (int j = 0; j < kLocalNumbers; ++j) value[j] = offsets[j] >= 0 ? window[offsets[j]] : 0;
#pragma unroll
      for (int quad = 0; quad < kLocalOutputs / 4; ++quad) {
        const float4 g = gradients[i][quad];
#pragma unroll
        for (int j = 0; j < kLocalNumbers; ++j) {
          sum[j][quad * 4] += value[j] * g.x;
          sum[j][quad * 4 + 1] += value[j] * g.y;
          sum[j][quad * 4 + 2] += value[j] * g.z;
          sum[j][quad * 4 + 3] += value[j] * g.w;
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < kLocalNumbers; ++j) {
    if (numbers[j] >= depth) continue;
#pragma unroll
    for (int k = 0; k < kLocalOutputs; ++k) {
      if (k >= outputs) continue;
      float& number = dweight[map.filter(location, first_output + k) + numbers[j]];
      number = overwrite ? sum[j][k] : number + sum[j][k];
    }
  }
}

// sums = dy added up over the images. One thread computes one number, and comes round again.
__global__ void local_bias_sums_kernel(int images, int64_t numbers, const float* __restrict__ dy,
                                       float* __restrict__ sums) {
  DRML_GRID_LOOP(i, numbers) {
    float sum = 0;
    for (int image = 0; image < images; ++image) sum += dy[image * numbers + i];
    sums[i] = sum;
  }
}

// From (outputs, locations) to (locations, outputs). One thread does one bias, and comes round
// again.
__global__ void local_location_bias_kernel(int outputs, int64_t locations,
                                           const float* __restrict__ sums,
                                           float* __restrict__ dbias) {
  DRML_GRID_LOOP(i, outputs * locations) {
    dbias[i] += sums[i % outputs * locations + i / outputs];
  }
}

// One block adds up the locations of one output.
__global__ void local_channel_bias_kernel(int64_t locations, const float* __restrict__ sums,
                                          float* __restrict__ dbias) {
  __shared__ double shared[32];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < locations; i += blockDim.x) {
    sum += sums[blockIdx.x * locations + i];
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) dbias[blockIdx.x] += static_cast<float>(sum);
}

#ifdef DRML_KERNELS_ONLY
template __global__ void local_forward_kernel<1>(LocalMap, int, int, const float*, const float*,
                                                 const float*, bool, float*);
template __global__ void local_forward_kernel<2>(LocalMap, int, int, const float*, const float*,
                                                 const float*, bool, float*);
template __global__ void local_forward_kernel<4>(LocalMap, int, int, const float*, const float*,
                                                 const float*, bool, float*);
#endif

}  // namespace cuda
}  // namespace drml
