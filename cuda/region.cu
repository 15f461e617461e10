// The region layer on CUDA; region_kernel.cuh says how the work is cut.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "cuda/context.h"
#include "cuda/region_kernel.cuh"
#include "cuda/rows.h"
#include "ops.h"
#include "region_shape.h"

namespace drml {
namespace {

constexpr int64_t kSharedBytes = 48 * 1024;
constexpr int64_t kGridLimit = 65535;  // blocks along any axis but the first

// What a block of the convolution keeps in shared memory: weights, and two tiles of each channel.
constexpr int64_t convolve_bytes(int64_t kernel, int64_t weight_channels) {
  const int64_t span = cuda::kTile + kernel - 1;
  return 4 * (weight_channels * kernel * kernel * cuda::kOutputs + 2 * cuda::kChunk * span * span);
}
static_assert(convolve_bytes(cuda::kMaxKernel, cuda::kChunk) <= kSharedBytes);

// Images that a block of the convolution takes with one copy of the weights.
constexpr int64_t kImagesPerBlock = 4;

// Blocks of the weight gradient: enough for two on each processor of a large device, and not more,
// since each part of the images costs memory of the weights' size.
constexpr int64_t kCorrelateBlocks = 256;

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls `launch` with the size of the kernel as a constant where one is compiled, else with 0.
template <typename Launch>
void with_kernel(int64_t kernel, Launch launch) {
  switch (kernel) {
    case 1:
      return launch(std::integral_constant<int, 1>());
    case 3:
      return launch(std::integral_constant<int, 3>());
    case 5:
      return launch(std::integral_constant<int, 5>());
    default:
      return launch(std::integral_constant<int, 0>());
  }
}

// The cut of the work: functions of shapes alone.
struct Work {
  cuda::RegionGeometry geometry;
  dim3 convolve_grid;
  int convolve_bytes;    // shared memory
  int plane_blocks;      // one for each channel of each patch
  int plane_threads;     // whole warps that visit a patch's pixels with few idle threads
  int64_t correlations;  // blocks of the weight gradient over the same images
};

Work make_work(const char* op, const RegionShape& shape, const RegionAttrs& attrs) {
  DRML_CHECK(shape.kernel <= cuda::kMaxKernel, op, ": kernels up to ", cuda::kMaxKernel,
             " fit in the ", kSharedBytes, " bytes of shared memory, not ", shape.kernel);
  DRML_CHECK(shape.image() <= std::numeric_limits<int>::max(), op, ": an image of ", shape.image(),
             " numbers is too large");
  Work work{};
  cuda::RegionGeometry& g = work.geometry;
  g.batch = static_cast<int>(shape.batch);
  g.channels = static_cast<int>(shape.channels);
  g.width = static_cast<int>(shape.width);
  g.plane = static_cast<int>(shape.height * shape.width);
  g.patches = static_cast<int>(shape.patches());
  g.grid_w = static_cast<int>(shape.grid_w);
  g.patch_h = static_cast<int>(shape.patch_h());
  g.patch_w = static_cast<int>(shape.patch_w());
  g.kernel = static_cast<int>(shape.kernel);
  const int64_t tiles_h = ceil_divide(g.patch_h, cuda::kTile);
  const int64_t tiles_w = ceil_divide(g.patch_w, cuda::kTile);
  g.tiles = static_cast<int>(tiles_h * tiles_w);
  g.tiles_w = static_cast<int>(tiles_w);
  g.tile_h = static_cast<int>(ceil_divide(g.patch_h, tiles_h));
  g.tile_w = static_cast<int>(ceil_divide(g.patch_w, tiles_w));
  g.parts = static_cast<int>(
      std::max<int64_t>(1, std::min(ceil_divide(g.batch, kImagesPerBlock), kGridLimit / g.tiles)));
  g.eps = attrs.eps;
  g.frozen = attrs.frozen;

  const bool all_fit = convolve_bytes(shape.kernel, shape.channels) <= kSharedBytes;
  g.weight_channels = all_fit ? g.channels : cuda::kChunk;
  // The sums of the data gradient come to the same memory when the tiles are no longer needed.
  constexpr int64_t kSumsBytes = 4 * 2 * cuda::kOutputs * (cuda::kTileThreads + 1);
  work.convolve_bytes =
      static_cast<int>(std::max(convolve_bytes(shape.kernel, g.weight_channels), kSumsBytes));
  work.convolve_grid = dim3(static_cast<unsigned>(g.patches),
                            static_cast<unsigned>(ceil_divide(g.channels, cuda::kOutputs)),
                            static_cast<unsigned>(g.parts * g.tiles));
  const int64_t pixels = int64_t{g.patch_h} * g.patch_w;
  work.plane_blocks = g.patches * g.channels;
  work.plane_threads =
      static_cast<int>(ceil_divide(ceil_divide(pixels, ceil_divide(pixels, 512)), 32) * 32);
  const int64_t channel_tiles = ceil_divide(g.channels, cuda::kInputs);
  work.correlations = g.patches * channel_tiles * channel_tiles;
  with_kernel(shape.kernel, [&](auto kernel) {
    if (kernel == 0) work.correlations *= shape.kernel * shape.kernel;
  });
  return work;
}

}  // namespace

void cuda::region_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                          const Tensor& mean, const Tensor& variance, const Tensor& y,
                          const RegionAttrs& attrs) {
  const RegionShape shape = make_region_forward_shape(x, weight, bias, mean, variance, y, attrs);
  if (x.size() == 0) return;
  const Work work = make_work("region_forward", shape, attrs);
  const RegionGeometry& g = work.geometry;
  Context& context = Context::of(x);
  if (!attrs.frozen) {
    DRML_LAUNCH(context, region_statistics_kernel, work.plane_blocks, work.plane_threads, 0, g,
                x.data(), mean.data(), variance.data());
  }
  with_kernel(shape.kernel, [&](auto kernel) {
    DRML_LAUNCH(context, (region_forward_kernel<decltype(kernel)::value>), work.convolve_grid,
                kConvolveThreads, work.convolve_bytes, g, x.data(), weight.data(), bias.data(),
                mean.data(), variance.data(), y.data());
  });
}

void cuda::region_backward(const Tensor& x, const Tensor& weight, const Tensor& mean,
                           const Tensor& variance, const Tensor& dy, const Tensor* dx,
                           const Tensor* dweight, const Tensor* dbias, const RegionAttrs& attrs) {
  const RegionShape shape =
      make_region_backward_shape(x, weight, mean, variance, dy, dx, dweight, dbias, attrs);
  if (x.size() == 0) return;
  const Work work = make_work("region_backward", shape, attrs);
  const RegionGeometry& g = work.geometry;
  Context& context = Context::of(x);

  // The weight gradient cuts the batch into other parts than the convolution.
  RegionGeometry correlate = g;
  correlate.parts = static_cast<int>(
      std::min<int64_t>(ceil_divide(kCorrelateBlocks, work.correlations), g.batch));
  const int64_t statistics = shape.patches() * shape.channels;
  const int64_t sums_size =
      dx != nullptr && !attrs.frozen ? int64_t{g.parts} * g.tiles * 2 * statistics : 0;
  const int64_t part_size = shape.patches() * shape.patch_weights();
  const int64_t parts_size = dweight != nullptr ? correlate.parts * part_size : 0;
  float* sums =
      reinterpret_cast<float*>(context.scratch(4 * (sums_size + 2 * statistics + parts_size)));
  float* means = sums + sums_size;
  float* parts = means + 2 * statistics;

  if (dx != nullptr) {
    with_kernel(shape.kernel, [&](auto kernel) {
      DRML_LAUNCH(context, (region_data_gradient_kernel<decltype(kernel)::value>),
                  work.convolve_grid, kConvolveThreads, work.convolve_bytes, g, x.data(),
                  weight.data(), mean.data(), variance.data(), dy.data(), dx->data(), sums);
    });
    if (!attrs.frozen) {
      DRML_LAUNCH(context, region_gradient_means_kernel, blocks_for(2 * statistics), kBlock, 0, g,
                  sums, means);
      DRML_LAUNCH(context, region_combine_kernel,
                  dim3(static_cast<unsigned>(work.plane_blocks), static_cast<unsigned>(g.parts)),
                  work.plane_threads, 0, g, x.data(), mean.data(), variance.data(), dy.data(),
                  means, dx->data());
    }
  }
  if (dweight != nullptr) {
    const dim3 grid(static_cast<unsigned>(work.correlations),
                    static_cast<unsigned>(correlate.parts));
    with_kernel(shape.kernel, [&](auto kernel) {
      DRML_LAUNCH(context, (region_weight_gradient_kernel<decltype(kernel)::value>), grid,
                  kCorrelateThreads, 0, correlate, x.data(), mean.data(), variance.data(),
                  dy.data(), parts);
    });
    add_rows(context, correlate.parts, part_size, parts, dweight->data());
  }
  if (dbias != nullptr) {
    DRML_LAUNCH(context, region_bias_gradient_kernel, work.plane_blocks, work.plane_threads, 0, g,
                dy.data(), dbias->data());
  }
}

}  // namespace drml
