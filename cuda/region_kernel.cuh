// Kernels of the region layer: y = x + conv(relu(batch_norm(x))), patch by patch (paper,
// section 3.1). No patch is copied out of the map in memory.
//
// Convolution, forward and for the gradient of x: a block takes a tile of one patch, 32 output
// channels and a run of images. The patch's weights stay in shared memory for all images; input
// channels come two at a time, normalized and rectified on the way, with a halo from the same patch
// and zeros beyond it. A thread keeps ten pixels of one column x four output channels in registers:
// a value read from shared memory serves up to twelve multiply-adds, a weight ten, and neighbouring
// threads read neighbouring pixels of a row in global memory.
//
// Weight gradient: a block takes a patch, 32 input x 32 output channels and a run of images, and
// walks over strips of a few rows. A thread keeps one input channel x four output channels x all
// taps in registers while a window of the input slides along a row.
//
// Every sum has an order that depends on shapes alone, so results repeat bit for bit.
#pragma once

#include "portable.h"
#include "reduce.cuh"

namespace drml {
namespace cuda {

constexpr int kTile = 20;          // a tile has at most kTile x kTile pixels
constexpr int kOutputs = 32;       // output channels of a block
constexpr int kThreadOutputs = 4;  // output channels of a thread
constexpr int kGroups = kOutputs / kThreadOutputs;

// Convolution.
constexpr int kThreadRows = 10;  // pixels of a thread, one below the other
constexpr int kBatchRows = 5;    // of these, read from memory at a time: registers are full
constexpr int kTileThreads = kTile * kTile / kThreadRows;
constexpr int kConvolveThreads = kTileThreads * kGroups;
constexpr int kChunk = 2;       // input channels between two barriers
constexpr int kMaxKernel = 11;  // the largest whose weights and tiles fit in shared memory

// Weight gradient.
constexpr int kInputs = 32;  // input channels of a block, one for each lane of a warp
constexpr int kStripRows = 3;
constexpr int kCorrelateThreads = kInputs * kGroups;

struct RegionGeometry {
  int batch, channels, width;
  int plane;  // numbers of one channel of one image; an image has less than 2^31
  int patches, grid_w;
  int patch_h, patch_w;
  int kernel;
  int tiles, tiles_w;  // of one patch
  int tile_h, tile_w;
  int parts;            // runs of images
  int weight_channels;  // input channels whose weights are in shared memory: all, or kChunk
  float eps;
  bool frozen;

  __device__ int64_t image() const { return channels * plane; }
  __device__ int first_image(int part) const {
    return static_cast<int>(static_cast<int64_t>(batch) * part / parts);
  }
  // Where in a plane a pixel of a patch lies.
  __device__ int at(int patch, int row, int col) const {
    return (patch / grid_w * patch_h + row) * width + patch % grid_w * patch_w + col;
  }
};

// The batch norm of one channel of one patch.
struct RegionNorm {
  float mean;
  float scale;

  __device__ float operator()(float x) const { return (x - mean) * scale; }
};

__device__ inline RegionNorm region_norm(const RegionGeometry& g, const float* mean,
                                         const float* variance, int index) {
  return {__ldg(mean + index), rsqrtf(__ldg(variance + index) + g.eps)};
}

// Statistics -------------------------------------------------------------------------------------

// A block computes mean and variance of one channel of one patch. Threads update theirs pixel by
// pixel as Welford did; they are put together in double precision: no cancellation at any size.
__global__ void region_statistics_kernel(RegionGeometry g, const float* __restrict__ x,
                                         float* __restrict__ mean, float* __restrict__ variance) {
  __shared__ double shared[32];
  const int patch = blockIdx.x % g.patches;
  const int channel = blockIdx.x / g.patches;
  float count = 0;
  float average = 0;
  float squares = 0;
  for (int pixel = threadIdx.x; pixel < g.patch_h * g.patch_w; pixel += blockDim.x) {
    const float* from = x + channel * g.plane + g.at(patch, pixel / g.patch_w, pixel % g.patch_w);
#pragma unroll 4
    for (int n = 0; n < g.batch; ++n) {
      const float value = __ldg(from + n * g.image());
      const float delta = value - average;
      count += 1;
      average += __fdividef(delta, count);
      squares += delta * (value - average);
    }
  }
  const double total = static_cast<double>(g.batch) * g.patch_h * g.patch_w;
  const double whole = block_sum(static_cast<double>(count) * average, shared) / total;
  const double delta = average - whole;
  const double sum = block_sum(squares + count * delta * delta, shared);
  if (threadIdx.x == 0) {
    mean[patch * g.channels + channel] = static_cast<float>(whole);
    variance[patch * g.channels + channel] = static_cast<float>(sum / total);
  }
}

// Convolution ------------------------------------------------------------------------------------

// Eight threads of the convolution take neighbouring columns, the next eight the same pixels of
// other channels: a warp reads few different pixels and weights from shared memory.
__device__ inline int convolve_group(int thread) { return thread / 8 % kGroups; }
__device__ inline int convolve_pixel(int thread) { return thread / 8 / kGroups * 8 + thread % 8; }

// Weights from g.weight_channels input channels to 32 output channels, zeros beyond the last one,
// in the order (input, tap, output). Transposed and turned by half a circle, they carry gradients
// from outputs back to inputs.
template <bool kTurned>
__device__ inline void stage_weights(const RegionGeometry& g, int kernel, const float* weight,
                                     int first, int first_output, float* shared) {
  const int area = kernel * kernel;
  const int inputs = min(g.weight_channels, g.channels - first);
  const int input_step = kTurned ? g.channels * area : area;
  const int output_step = kTurned ? area : g.channels * area;
  // A warp takes four rows x eight outputs: it reads runs of four numbers and writes runs of eight.
  for (int i = threadIdx.x; i < (inputs * area + 3) / 4 * 4 * kOutputs; i += kConvolveThreads) {
    const int output = i / 4 % kOutputs;
    const int row = i / (4 * kOutputs) * 4 + i % 4;
    if (row >= inputs * area) continue;
    const int tap = kTurned ? area - 1 - row % area : row % area;
    shared[row * kOutputs + output] =
        first_output + output < g.channels
            ? __ldg(weight + static_cast<int64_t>(first_output + output) * output_step +
                    static_cast<int64_t>(first + row / area) * input_step + tap)
            : 0.0f;
  }
}

// Adds one input channel, convolved with four output channels, to the sums of a thread. `tile` is
// the corner of its first pixel's window; the rows of the kernel share the column that they read.
template <int kKernel>
__device__ inline void convolve_channel(int kernel, const float* tile, const float* weight,
                                        float (&sum)[kThreadRows][kThreadOutputs]) {
  constexpr int kWindow = kKernel > 0 ? kKernel : 1;
  const int span = kTile + kernel - 1;
#pragma unroll
  for (int kx = 0; kx < kernel; ++kx) {
#pragma unroll
    for (int top = 0; top < kernel; top += kWindow) {
      float column[kThreadRows + kWindow - 1];
#pragma unroll
      for (int row = 0; row < kThreadRows + kWindow - 1; ++row) {
        column[row] = tile[(top + row) * span + kx];
      }
#pragma unroll
      for (int ky = 0; ky < kWindow; ++ky) {
        const float4 w =
            *reinterpret_cast<const float4*>(weight + ((top + ky) * kernel + kx) * kOutputs);
#pragma unroll
        for (int row = 0; row < kThreadRows; ++row) {
          sum[row][0] += column[row + ky] * w.x;
          sum[row][1] += column[row + ky] * w.y;
          sum[row][2] += column[row + ky] * w.z;
          sum[row][3] += column[row + ky] * w.w;
        }
      }
    }
  }
}

// Convolves the block's tile of its images. kKernel is the size of the kernel, or 0 for any. A
// Direction says whether weights are turned, what is staged of a number of the source, and what
// becomes of the sums of an image.
template <int kKernel, typename Direction>
__device__ inline void convolve_images(const RegionGeometry& g, const float* source,
                                       const float* weight, Direction& direction) {
  constexpr int kMaxSpan = kTile + (kKernel > 0 ? kKernel : kMaxKernel) - 1;
  constexpr int kPositions = (kMaxSpan * kMaxSpan + kConvolveThreads - 1) / kConvolveThreads;
  DRML_DYNAMIC_SHARED(float, shared);
  const int kernel = kKernel > 0 ? kKernel : g.kernel;
  const int area = kernel * kernel;
  const int span = kTile + kernel - 1;
  const int thread = threadIdx.x;

  const int patch = blockIdx.x;
  const int tile = blockIdx.z % g.tiles;
  const int part = blockIdx.z / g.tiles;
  const int top = tile / g.tiles_w * g.tile_h;
  const int left = tile % g.tiles_w * g.tile_w;
  const int first_output = blockIdx.y * kOutputs;
  const float* patch_weight = weight + static_cast<int64_t>(patch) * g.channels * g.channels * area;

  // What the thread stages of every channel: where it lies in a plane, or -1 beyond the patch.
  int position[kPositions];
#pragma unroll
  for (int i = 0; i < kPositions; ++i) {
    const int place = thread + i * kConvolveThreads;
    const int row = top + place / span - kernel / 2;
    const int col = left + place % span - kernel / 2;
    const bool inside = row >= 0 && row < g.patch_h && col >= 0 && col < g.patch_w;
    position[i] = place < span * span && inside ? g.at(patch, row, col) : -1;
  }
  float staged[kPositions];
  const auto fetch = [&](int n, int channel) {
    const float* image = source + n * g.image();
#pragma unroll
    for (int i = 0; i < kPositions; ++i) {
      staged[i] = position[i] >= 0 ? __ldg(image + (channel * g.plane + position[i])) : 0.0f;
    }
  };
  const auto put = [&](int channel, float* to) {
    const auto stage = direction.stage(g, patch * g.channels + channel);
#pragma unroll
    for (int i = 0; i < kPositions; ++i) {
      const int place = thread + i * kConvolveThreads;
      if (place >= span * span) break;
      to[place] = position[i] >= 0 ? stage(staged[i]) : 0.0f;
    }
  };

  // What the thread computes.
  const int row = convolve_pixel(thread) / kTile * kThreadRows;
  const int col = convolve_pixel(thread) % kTile;
  const int output = first_output + convolve_group(thread) * kThreadOutputs;
  const bool exists = col < min(g.tile_w, g.patch_w - left) && output < g.channels;
  const int rows = exists ? min(g.tile_h, g.patch_h - top) - row : 0;
  const int at = g.at(patch, top + row, left + col);

  // Two buffers in turn: while one is read, the next numbers are on their way to registers.
  float* buffer = shared + g.weight_channels * area * kOutputs;
  float* other = buffer + kChunk * span * span;
  const int first_image = g.first_image(part);
  const int last_image = g.first_image(part + 1);
  for (int c = 0; c < min(kChunk, g.channels); ++c) {
    fetch(first_image, c);
    put(c, buffer + c * span * span);
  }
  stage_weights<Direction::kTurned>(g, kernel, patch_weight, 0, first_output, shared);
  __syncthreads();
  for (int n = first_image; n < last_image; ++n) {
    float sum[kThreadRows][kThreadOutputs] = {};
    for (int first = 0; first < g.channels; first += kChunk) {
      const bool image_ends = first + kChunk >= g.channels;
      const int next = image_ends ? 0 : first + kChunk;
      const bool more = !image_ends || n + 1 < last_image;
      const float* chunk_weight = shared + convolve_group(thread) * kThreadOutputs;
      if (g.weight_channels == g.channels) chunk_weight += first * area * kOutputs;
#pragma unroll 1
      for (int c = 0; c < kChunk; ++c) {
        const bool stages = more && next + c < g.channels;
        if (stages) fetch(image_ends ? n + 1 : n, next + c);
        if (rows > 0 && first + c < g.channels) {
          convolve_channel<kKernel>(kernel, buffer + c * span * span + row * span + col,
                                    chunk_weight + c * area * kOutputs, sum);
        }
        if (stages) put(next + c, other + c * span * span);
      }
      if (more) {
        if (g.weight_channels < g.channels) {
          __syncthreads();
          stage_weights<Direction::kTurned>(g, kernel, patch_weight, next, first_output, shared);
        }
        __syncthreads();
        float* read = buffer;
        buffer = other;
        other = read;
      }
    }
    if (rows > 0) {
      direction.finish(g, n, output, patch * g.channels + output, at, rows, sum);
    }
  }
}

struct RegionForward {
  static constexpr bool kTurned = false;

  const float* x;
  const float* mean;
  const float* variance;
  const float* bias;
  float* y;

  struct Stage {
    RegionNorm norm;
    __device__ float operator()(float value) const { return fmaxf(norm(value), 0.0f); }
  };
  __device__ Stage stage(const RegionGeometry& g, int index) const {
    return {region_norm(g, mean, variance, index)};
  }

  __device__ void finish(const RegionGeometry& g, int n, int output, int index, int at, int rows,
                         const float (&sum)[kThreadRows][kThreadOutputs]) {
#pragma unroll
    for (int o = 0; o < kThreadOutputs; ++o) {
      if (output + o >= g.channels) break;
      const int64_t offset = n * g.image() + ((output + o) * g.plane + at);
      const float shift = __ldg(bias + index + o);
      const float* from = x + offset;
      float* to = y + offset;
#pragma unroll
      for (int first = 0; first < kThreadRows; first += kBatchRows) {
        float residual[kBatchRows];
#pragma unroll
        for (int row = 0; row < kBatchRows; ++row, from += g.width) {
          residual[row] = first + row < rows ? __ldg(from) : 0.0f;
        }
#pragma unroll
        for (int row = 0; row < kBatchRows; ++row, to += g.width) {
          if (first + row >= rows) break;
          *to = sum[first + row][o] + shift + residual[row];
        }
      }
    }
  }
};

// A block computes y for a tile of a patch, 32 channels and a run of images.
template <int kKernel>
__global__ void __launch_bounds__(kConvolveThreads, kKernel > 0 ? 2 : 1)
    region_forward_kernel(RegionGeometry g, const float* __restrict__ x,
                          const float* __restrict__ weight, const float* __restrict__ bias,
                          const float* __restrict__ mean, const float* __restrict__ variance,
                          float* __restrict__ y) {
  RegionForward direction = {x, mean, variance, bias, y};
  convolve_images<kKernel>(g, x, weight, direction);
}

struct RegionBackward {
  static constexpr bool kTurned = true;

  const float* x;
  const float* mean;
  const float* variance;
  const float* dy;
  float* dx;
  // Over the pixels and images of a thread.
  float sum_dz[kThreadOutputs];
  float sum_dz_z[kThreadOutputs];

  struct Stage {
    __device__ float operator()(float value) const { return value; }
  };
  __device__ Stage stage(const RegionGeometry&, int) const { return {}; }

  __device__ void finish(const RegionGeometry& g, int n, int output, int index, int at, int rows,
                         const float (&sum)[kThreadRows][kThreadOutputs]) {
#pragma unroll
    for (int o = 0; o < kThreadOutputs; ++o) {
      if (output + o >= g.channels) break;
      const int64_t offset = n * g.image() + ((output + o) * g.plane + at);
      const RegionNorm norm = region_norm(g, mean, variance, index + o);
      const float* from = x + offset;
      const float* residual = dy + offset;
      float* to = dx + offset;
#pragma unroll
      for (int first = 0; first < kThreadRows; first += kBatchRows) {
        float z[kBatchRows];
#pragma unroll
        for (int row = 0; row < kBatchRows; ++row, from += g.width) {
          z[row] = first + row < rows ? norm(__ldg(from)) : 0.0f;
        }
#pragma unroll
        for (int row = 0; row < kBatchRows; ++row, residual += g.width, to += g.width) {
          if (first + row >= rows) break;
          const float dz = z[row] > 0 ? sum[first + row][o] : 0.0f;
          sum_dz[o] += dz;
          sum_dz_z[o] += dz * z[row];
          *to = g.frozen ? __ldg(residual) + norm.scale * dz : dz;
        }
      }
    }
  }
};

// A block computes dz = [z > 0] * conv^T(dy) for a tile of a patch, 32 channels and a run of
// images. With frozen statistics dx = dy + scale * dz; else dx holds dz, and the block's sums of dz
// and of dz * z go to sums (parts x tiles, 2, patches, channels).
template <int kKernel>
__global__ void __launch_bounds__(kConvolveThreads, kKernel > 0 ? 2 : 1)
    region_data_gradient_kernel(RegionGeometry g, const float* __restrict__ x,
                                const float* __restrict__ weight, const float* __restrict__ mean,
                                const float* __restrict__ variance, const float* __restrict__ dy,
                                float* __restrict__ dx, float* __restrict__ sums) {
  RegionBackward direction = {x, mean, variance, dy, dx, {}, {}};
  convolve_images<kKernel>(g, dy, weight, direction);
  if (g.frozen) return;

  DRML_DYNAMIC_SHARED(float, shared);
  constexpr int kStep = kTileThreads + 1;
  const int thread = threadIdx.x;
  __syncthreads();
#pragma unroll
  for (int o = 0; o < kThreadOutputs; ++o) {
    float* to =
        shared + (convolve_group(thread) * kThreadOutputs + o) * kStep + convolve_pixel(thread);
    to[0] = direction.sum_dz[o];
    to[kOutputs * kStep] = direction.sum_dz_z[o];
  }
  __syncthreads();
  const int channel = blockIdx.y * kOutputs + thread % kOutputs;
  if (thread >= 2 * kOutputs || channel >= g.channels) return;
  double total = 0;
  for (int i = 0; i < kTileThreads; ++i) total += shared[thread * kStep + i];
  sums[((static_cast<int64_t>(blockIdx.z) * 2 + thread / kOutputs) * g.patches + blockIdx.x) *
           g.channels +
       channel] = static_cast<float>(total);
}

// The rest of the gradient of x ------------------------------------------------------------------

// A thread adds up the blocks' sums of one channel of one patch, in order: means of dz and dz * z.
__global__ void region_gradient_means_kernel(RegionGeometry g, const float* __restrict__ sums,
                                             float* __restrict__ means) {
  const int count = 2 * g.patches * g.channels;
  DRML_GRID_LOOP(i, count) {
    double total = 0;
    for (int block = 0; block < g.parts * g.tiles; ++block) {
      total += sums[static_cast<int64_t>(block) * count + i];
    }
    means[i] = static_cast<float>(total / (static_cast<double>(g.batch) * g.patch_h * g.patch_w));
  }
}

// A block turns dz into dx = dy + scale * (dz - mean(dz) - z * mean(dz * z)) for one channel of one
// patch and a run of images.
__global__ void region_combine_kernel(RegionGeometry g, const float* __restrict__ x,
                                      const float* __restrict__ mean,
                                      const float* __restrict__ variance,
                                      const float* __restrict__ dy, const float* __restrict__ means,
                                      float* __restrict__ dx) {
  const int patch = blockIdx.x % g.patches;
  const int channel = blockIdx.x / g.patches;
  const int index = patch * g.channels + channel;
  const RegionNorm norm = region_norm(g, mean, variance, index);
  const float mean_dz = means[index];
  const float mean_dz_z = means[g.patches * g.channels + index];
  const int last_image = g.first_image(blockIdx.y + 1);
  for (int pixel = threadIdx.x; pixel < g.patch_h * g.patch_w; pixel += blockDim.x) {
    const int64_t at = channel * g.plane + g.at(patch, pixel / g.patch_w, pixel % g.patch_w);
#pragma unroll 4
    for (int n = g.first_image(blockIdx.y); n < last_image; ++n) {
      const int64_t i = n * g.image() + at;
      dx[i] = dy[i] + norm.scale * (dx[i] - mean_dz - norm(x[i]) * mean_dz_z);
    }
  }
}

// Parameters -------------------------------------------------------------------------------------

// A block computes the part of dweight that a run of images gives, for one patch, 32 input x 32
// output channels and a window of taps: all of a kernel of kKernel, or one if kKernel is 0. Parts
// have the shape (parts, patches, outputs, inputs, kernel, kernel).
template <int kKernel>
__global__ void __launch_bounds__(kCorrelateThreads, kKernel > 3 ? 1 : 2)
    region_weight_gradient_kernel(RegionGeometry g, const float* __restrict__ x,
                                  const float* __restrict__ mean,
                                  const float* __restrict__ variance, const float* __restrict__ dy,
                                  float* __restrict__ parts) {
  constexpr int kWindow = kKernel > 0 ? kKernel : 1;
  constexpr int kCols = (kTile + kWindow - 1) / kWindow * kWindow;
  constexpr int kZRows = kStripRows + kWindow - 1;
  constexpr int kZCols = kCols + kWindow - 1;
  // Strides at which the 32 lanes reach 32 banks: one channel each, or 8 pixels x 4 channels.
  constexpr int kZStride = kZRows * kZCols | 1;
  constexpr int kPixelStride = kOutputs + 4;
  constexpr int kStagers = kCorrelateThreads / kInputs;  // threads that stage one channel
  static_assert(kInputs == kOutputs, "a thread stages one channel of x and one of dy");
  __shared__ float z_strip[kInputs * kZStride];
  __shared__ float4 dy_strip4[kStripRows * kCols * kPixelStride / 4];
  float* dy_strip = reinterpret_cast<float*>(dy_strip4);

  const int patch = blockIdx.x % g.patches;
  const int channel_tiles = (g.channels + kInputs - 1) / kInputs;
  int index = blockIdx.x / g.patches;
  const int first_input = index % channel_tiles * kInputs;
  index /= channel_tiles;
  const int first_output = index % channel_tiles * kOutputs;
  index /= channel_tiles;
  const int kernel = kKernel > 0 ? kKernel : g.kernel;
  const int tap_row = kKernel > 0 ? 0 : index / kernel;
  const int tap_col = kKernel > 0 ? 0 : index % kernel;

  const int stager = threadIdx.x % kStagers;
  const int staged = threadIdx.x / kStagers;
  const bool has_input = first_input + staged < g.channels;
  const bool has_output = first_output + staged < g.channels;
  const float* x_patch = x + (first_input + staged) * g.plane + g.at(patch, 0, 0);
  const float* dy_patch = dy + (first_output + staged) * g.plane + g.at(patch, 0, 0);
  const RegionNorm norm =
      has_input ? region_norm(g, mean, variance, patch * g.channels + first_input + staged)
                : RegionNorm{0, 0};

  const int lane = threadIdx.x % kInputs;
  const int group = threadIdx.x / kInputs;
  const int input = first_input + lane;
  const int output = first_output + group * kThreadOutputs;
  const bool active = input < g.channels && output < g.channels;
  float sum[kWindow][kWindow][kThreadOutputs] = {};

  const int strips_h = (g.patch_h + kStripRows - 1) / kStripRows;
  const int last_image = g.first_image(blockIdx.y + 1);
  for (int n = g.first_image(blockIdx.y); n < last_image; ++n) {
    const float* x_image = x_patch + n * g.image();
    const float* dy_image = dy_patch + n * g.image();
    for (int strip = 0; strip < strips_h * g.tiles_w; ++strip) {
      const int top = strip / g.tiles_w * kStripRows;
      const int left = strip % g.tiles_w * g.tile_w;
      const int rows = min(kStripRows, g.patch_h - top);
      const int cols = min(g.tile_w, g.patch_w - left);
      const int row = top + tap_row - kernel / 2;
      const int col = left + tap_col - kernel / 2;
      __syncthreads();
#pragma unroll
      for (int r = 0; r < kZRows; ++r) {
        const bool has_row = has_input && row + r >= 0 && row + r < g.patch_h;
#pragma unroll
        for (int i = 0; i < kZCols; i += kStagers) {
          const int c = stager + i;
          const bool inside = has_row && col + c >= 0 && col + c < g.patch_w;
          // Beyond the patch the mean, which becomes zero.
          const float value = inside ? __ldg(x_image + ((row + r) * g.width + col + c)) : norm.mean;
          if (c < kZCols) z_strip[staged * kZStride + r * kZCols + c] = fmaxf(norm(value), 0.0f);
        }
      }
#pragma unroll
      for (int r = 0; r < kStripRows; ++r) {
        const int offset = (top + r) * g.width + left;
#pragma unroll
        for (int i = 0; i < kCols; i += kStagers) {
          const int c = stager + i;
          const float value =
              has_output && r < rows && c < cols ? __ldg(dy_image + (offset + c)) : 0.0f;
          if (c < kCols) dy_strip[(r * kCols + c) * kPixelStride + staged] = value;
        }
      }
      __syncthreads();
      if (!active) continue;
      for (int r = 0; r < rows; ++r) {
        const float* z = z_strip + lane * kZStride + r * kZCols;
        const float4* d = dy_strip4 + r * kCols * kPixelStride / 4 + group;
        // The window's columns take turns: column i of the row is kept at i modulo kWindow.
        float window[kWindow][kWindow];
#pragma unroll
        for (int ky = 0; ky < kWindow; ++ky) {
#pragma unroll
          for (int kx = 0; kx < kWindow - 1; ++kx) window[ky][kx] = z[ky * kZCols + kx];
        }
        for (int col = 0; col < cols; col += kWindow) {
#pragma unroll
          for (int turn = 0; turn < kWindow; ++turn) {
#pragma unroll
            for (int ky = 0; ky < kWindow; ++ky) {
              window[ky][(turn + kWindow - 1) % kWindow] =
                  z[ky * kZCols + col + turn + kWindow - 1];
            }
            const float4 gradient = d[(col + turn) * (kPixelStride / 4)];
#pragma unroll
            for (int ky = 0; ky < kWindow; ++ky) {
#pragma unroll
              for (int kx = 0; kx < kWindow; ++kx) {
                const float value = window[ky][(turn + kx) % kWindow];
                sum[ky][kx][0] += value * gradient.x;
                sum[ky][kx][1] += value * gradient.y;
                sum[ky][kx][2] += value * gradient.z;
                sum[ky][kx][3] += value * gradient.w;
              }
            }
          }
        }
      }
    }
  }
  if (!active) return;
#pragma unroll
  for (int o = 0; o < kThreadOutputs; ++o) {
    if (output + o >= g.channels) break;
    const int64_t pair =
        ((static_cast<int64_t>(blockIdx.y) * g.patches + patch) * g.channels + output + o) *
            g.channels +
        input;
#pragma unroll
    for (int ky = 0; ky < kWindow; ++ky) {
#pragma unroll
      for (int kx = 0; kx < kWindow; ++kx) {
        parts[(pair * kernel + tap_row + ky) * kernel + tap_col + kx] = sum[ky][kx][o];
      }
    }
  }
}

// A block sums dy over one channel of one patch.
__global__ void region_bias_gradient_kernel(RegionGeometry g, const float* __restrict__ dy,
                                            float* __restrict__ dbias) {
  __shared__ double shared[32];
  const int patch = blockIdx.x % g.patches;
  const int channel = blockIdx.x / g.patches;
  float sum = 0;
  for (int pixel = threadIdx.x; pixel < g.patch_h * g.patch_w; pixel += blockDim.x) {
    const float* from = dy + channel * g.plane + g.at(patch, pixel / g.patch_w, pixel % g.patch_w);
#pragma unroll 4
    for (int n = 0; n < g.batch; ++n) sum += __ldg(from + n * g.image());
  }
  const double total = block_sum(static_cast<double>(sum), shared);
  if (threadIdx.x == 0) dbias[patch * g.channels + channel] += static_cast<float>(total);
}

#ifdef DRML_KERNELS_ONLY
#define DRML_INSTANTIATE(kernel)                                                                   \
  template __global__ void region_forward_kernel<kernel>(RegionGeometry, const float*,             \
                                                         const float*, const float*, const float*, \
                                                         const float*, float*);                    \
  template __global__ void region_data_gradient_kernel<kernel>(                                    \
      RegionGeometry, const float*, const float*, const float*, const float*, const float*,        \
      float*, float*);                                                                             \
  template __global__ void region_weight_gradient_kernel<kernel>(                                  \
      RegionGeometry, const float*, const float*, const float*, const float*, float*);
DRML_INSTANTIATE(0)
DRML_INSTANTIATE(1)
DRML_INSTANTIATE(3)
DRML_INSTANTIATE(5)
#undef DRML_INSTANTIATE
#endif

}  // namespace cuda
}  // namespace drml
