// The region layer on the CPU: y = x + conv(relu(batch_norm(x))), patch by patch (paper,
// section 3.1).
//
// No patch is copied out of the map in memory: a thread normalizes and rectifies one patch of one
// image into a tile with a zero border, which stays in its cache, and convolves it straight into y.
// Patches are independent, so they are what threads share out; a grid of few patches is cut along
// the batch as well. The cut depends on the shape alone, so results do not depend on the number of
// threads, bit for bit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/region_kernel.h"
#include "ops.h"
#include "region_shape.h"

namespace drml {
namespace {

// Parts that a batch norm over few patches is cut into, for machines of many cores.
constexpr int64_t kLeastTasks = 16;

const RegionKernels& kernels() {
#ifdef DRML_HAS_avx512
  if (best_isa() == Isa::avx512) return avx512::region_kernels;
  if (best_isa() == Isa::avx2) return avx2::region_kernels;
#endif
  return portable::region_kernels;
}

// The cut of the work: `parts` runs of images for each patch.
struct Work {
  const RegionKernels& kernel = kernels();
  RegionGeometry geometry;
  int64_t batch;
  int64_t patches;
  int64_t grid_w;
  int64_t image_stride;
  int64_t parts;

  int64_t tasks() const { return patches * parts; }
  int64_t patch(int64_t task) const { return task / parts; }
  int64_t first_image(int64_t task) const { return batch * (task % parts) / parts; }
  int64_t last_image(int64_t task) const { return batch * (task % parts + 1) / parts; }
  int64_t patch_offset(int64_t patch) const {
    return patch / grid_w * geometry.patch_h * geometry.row_stride +
           patch % grid_w * geometry.patch_w * geometry.channels;
  }
};

Work make_work(const RegionShape& shape) {
  Work work{};
  RegionGeometry& g = work.geometry;
  g.channels = shape.channels;
  g.patch_h = shape.patch_h();
  g.patch_w = shape.patch_w();
  g.kernel = shape.kernel;
  g.pad = shape.kernel / 2;
  g.row_stride = shape.width * shape.channels;
  g.block = work.kernel.block;
  g.depth = (g.channels + g.block - 1) / g.block * g.block;
  work.batch = shape.batch;
  work.patches = shape.patches();
  work.grid_w = shape.grid_w;
  work.image_stride = shape.image();
  work.parts = std::clamp<int64_t>(kLeastTasks / work.patches, 1, std::max<int64_t>(1, work.batch));
  return work;
}

// (outputs, inputs, k, k) to the order of RegionGeometry::packed_size, zeros beyond the channels.
// The transpose, turned by half a circle, carries gradients from outputs back to inputs.
void pack(const RegionGeometry& g, const float* weight, bool transpose, float* packed) {
  const int64_t area = g.kernel * g.kernel;
  std::memset(packed, 0, static_cast<size_t>(g.packed_size()) * sizeof(float));
  for (int64_t to = 0; to < g.channels; ++to) {
    for (int64_t from = 0; from < g.channels; ++from) {
      const float* source =
          weight + (transpose ? from * g.channels + to : to * g.channels + from) * area;
      float* target = packed + to / g.block * g.block * area * g.depth + to % g.block;
      for (int64_t tap = 0; tap < area; ++tap) {
        target[(tap * g.depth + from) * g.block] = source[transpose ? area - 1 - tap : tap];
      }
    }
  }
}

void add_unpacked(const RegionGeometry& g, const float* packed, float* dweight) {
  const int64_t area = g.kernel * g.kernel;
  for (int64_t to = 0; to < g.channels; ++to) {
    const float* source = packed + to / g.block * g.block * area * g.depth + to % g.block;
    for (int64_t from = 0; from < g.channels; ++from) {
      for (int64_t tap = 0; tap < area; ++tap) {
        dweight[(to * g.channels + from) * area + tap] += source[(tap * g.depth + from) * g.block];
      }
    }
  }
}

// dy of one patch into the interior of a tile.
void copy_to_tile(const RegionGeometry& g, const float* dy, float* tile) {
  for (int64_t row = 0; row < g.patch_h; ++row) {
    for (int64_t col = 0; col < g.patch_w; ++col) {
      std::memcpy(tile + (row + g.pad) * g.tile_row() + (col + g.pad) * g.depth,
                  dy + row * g.row_stride + col * g.channels,
                  static_cast<size_t>(g.channels) * sizeof(float));
    }
  }
}

// Mean and variance of each channel of each patch over the batch. Images are merged by the update
// of Chan, Golub and LeVeque, in double precision and in order: no cancellation at any batch size.
void compute_statistics(const Work& work, const float* x, float* mean, float* variance) {
  const RegionGeometry& g = work.geometry;
  const int64_t channels = g.channels;
  std::vector<float> image_moments(static_cast<size_t>(work.batch * work.patches * channels * 2));
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < work.tasks(); ++task) {
    const int64_t patch = work.patch(task);
    for (int64_t n = work.first_image(task); n < work.last_image(task); ++n) {
      float* moments = image_moments.data() + (patch * work.batch + n) * channels * 2;
      work.kernel.moments(g, x + n * work.image_stride + work.patch_offset(patch), moments,
                          moments + channels);
    }
  }
  const double pixels = static_cast<double>(g.patch_h * g.patch_w);
#pragma omp parallel for schedule(static)
  for (int64_t patch = 0; patch < work.patches; ++patch) {
    for (int64_t c = 0; c < channels; ++c) {
      double average = 0;
      double squares = 0;
      for (int64_t n = 0; n < work.batch; ++n) {
        const float* moments = image_moments.data() + (patch * work.batch + n) * channels * 2;
        const double seen = static_cast<double>(n) * pixels;
        const double delta = static_cast<double>(moments[c]) - average;
        average += delta * pixels / (seen + pixels);
        squares += static_cast<double>(moments[channels + c]) +
                   delta * delta * seen * pixels / (seen + pixels);
      }
      mean[patch * channels + c] = static_cast<float>(average);
      variance[patch * channels + c] =
          static_cast<float>(squares / (static_cast<double>(work.batch) * pixels));
    }
  }
}

std::vector<float> inverse_deviation(const Tensor& variance, float eps) {
  std::vector<float> scale(static_cast<size_t>(variance.size()));
  for (size_t i = 0; i < scale.size(); ++i) scale[i] = 1.0f / std::sqrt(variance.data()[i] + eps);
  return scale;
}

}  // namespace

void cpu::region_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Tensor& mean, const Tensor& variance, const Tensor& y,
                         const RegionAttrs& attrs) {
  const RegionShape shape = make_region_forward_shape(x, weight, bias, mean, variance, y, attrs);
  const Work work = make_work(shape);
  if (work.batch == 0) return;
  const RegionGeometry& g = work.geometry;
  if (!attrs.frozen) compute_statistics(work, x.data(), mean.data(), variance.data());
  const std::vector<float> scale = inverse_deviation(variance, attrs.eps);
  const int64_t weights = shape.patch_weights();
#pragma omp parallel
  {
    std::vector<float> tile(static_cast<size_t>(g.tile_size()));
    std::vector<float> packed(static_cast<size_t>(g.packed_size()));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < work.tasks(); ++task) {
      const int64_t patch = work.patch(task);
      const int64_t channel = patch * g.channels;
      pack(g, weight.data() + patch * weights, false, packed.data());
      for (int64_t n = work.first_image(task); n < work.last_image(task); ++n) {
        const int64_t at = n * work.image_stride + work.patch_offset(patch);
        work.kernel.normalize(g, x.data() + at, mean.data() + channel, scale.data() + channel,
                              tile.data());
        work.kernel.convolve(g, tile.data(), packed.data(), bias.data() + channel, x.data() + at,
                             y.data() + at);
      }
    }
  }
}

void cpu::region_backward(const Tensor& x, const Tensor& weight, const Tensor& mean,
                          const Tensor& variance, const Tensor& dy, const Tensor* dx,
                          const Tensor* dweight, const Tensor* dbias, const RegionAttrs& attrs) {
  const RegionShape shape =
      make_region_backward_shape(x, weight, mean, variance, dy, dx, dweight, dbias, attrs);
  const Work work = make_work(shape);
  if (work.batch == 0) return;
  const RegionGeometry& g = work.geometry;
  const std::vector<float> scale = inverse_deviation(variance, attrs.eps);
  const int64_t weights = shape.patch_weights();
  // Per task: what is summed over its images, added up in order afterwards.
  std::vector<double> sums(static_cast<size_t>(work.tasks() * g.channels * 2));
  std::vector<double> bias_sums(static_cast<size_t>(dbias ? work.tasks() * g.channels : 0));
  std::vector<float> gradients(static_cast<size_t>(dweight ? work.tasks() * g.packed_size() : 0));
#pragma omp parallel
  {
    std::vector<float> tile(static_cast<size_t>(g.tile_size()));
    std::vector<float> dy_tile(static_cast<size_t>(g.tile_size()));
    std::vector<float> packed(static_cast<size_t>(g.packed_size()));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < work.tasks(); ++task) {
      const int64_t patch = work.patch(task);
      const int64_t channel = patch * g.channels;
      double* sum = sums.data() + task * g.channels * 2;
      if (dx != nullptr) pack(g, weight.data() + patch * weights, true, packed.data());
      for (int64_t n = work.first_image(task); n < work.last_image(task); ++n) {
        const int64_t at = n * work.image_stride + work.patch_offset(patch);
        copy_to_tile(g, dy.data() + at, dy_tile.data());
        if (dbias != nullptr) {
          for (int64_t pixel = 0; pixel < g.patch_h * g.patch_w; ++pixel) {
            const float* value =
                dy.data() + at + pixel / g.patch_w * g.row_stride + pixel % g.patch_w * g.channels;
            double* bias_sum = bias_sums.data() + task * g.channels;
            for (int64_t c = 0; c < g.channels; ++c) bias_sum[c] += static_cast<double>(value[c]);
          }
        }
        if (dx == nullptr && dweight == nullptr) continue;
        work.kernel.normalize(g, x.data() + at, mean.data() + channel, scale.data() + channel,
                              tile.data());
        if (dweight != nullptr) {
          work.kernel.correlate(g, tile.data(), dy_tile.data(),
                                gradients.data() + task * g.packed_size());
        }
        if (dx != nullptr) {
          work.kernel.convolve(g, dy_tile.data(), packed.data(), nullptr, nullptr, dx->data() + at);
          work.kernel.mask(g, tile.data(), dx->data() + at, sum, sum + g.channels);
        }
      }
    }
    // Each patch adds up its parts; dx of the statistics' path needs the sums over all of them.
    std::vector<float> mean_dz(static_cast<size_t>(g.channels));
    std::vector<float> mean_dz_z(static_cast<size_t>(g.channels));
    const double count = static_cast<double>(work.batch * g.patch_h * g.patch_w);
#pragma omp for schedule(static)
    for (int64_t task = 0; task < work.tasks(); ++task) {
      const int64_t patch = work.patch(task);
      const int64_t channel = patch * g.channels;
      if (task % work.parts == 0) {
        for (int64_t part = task; part < task + work.parts; ++part) {
          if (dweight != nullptr) {
            add_unpacked(g, gradients.data() + part * g.packed_size(),
                         dweight->data() + patch * weights);
          }
          if (dbias != nullptr) {
            for (int64_t c = 0; c < g.channels; ++c) {
              dbias->data()[channel + c] +=
                  static_cast<float>(bias_sums[static_cast<size_t>(part * g.channels + c)]);
            }
          }
        }
      }
      if (dx == nullptr) continue;
      for (int64_t c = 0; c < g.channels && !attrs.frozen; ++c) {
        double total = 0;
        double total_z = 0;
        for (int64_t part = patch * work.parts; part < (patch + 1) * work.parts; ++part) {
          total += sums[static_cast<size_t>(part * g.channels * 2 + c)];
          total_z += sums[static_cast<size_t>((part * 2 + 1) * g.channels + c)];
        }
        mean_dz[static_cast<size_t>(c)] = static_cast<float>(total / count);
        mean_dz_z[static_cast<size_t>(c)] = static_cast<float>(total_z / count);
      }
      for (int64_t n = work.first_image(task); n < work.last_image(task); ++n) {
        const int64_t at = n * work.image_stride + work.patch_offset(patch);
        work.kernel.combine(g, x.data() + at, dy.data() + at, mean.data() + channel,
                            scale.data() + channel, mean_dz.data(), mean_dz_z.data(),
                            dx->data() + at);
      }
    }
  }
}

}  // namespace drml
