// Kernels of the region layer on one small patch, for tests that break barriers and bounds.
#include <cstring>

#include "cuda/region_kernel.cuh"
#include "testing.h"

int main(int, char** arguments) {
  constexpr int kSize = 4;
  constexpr int kChannels = 4;
  constexpr int kKernel = 3;
  constexpr int kSpan = drml::cuda::kTile + kKernel - 1;
  drml::cuda::RegionGeometry g{};
  g.batch = 1;
  g.channels = kChannels;
  g.width = kSize;
  g.plane = kSize * kSize;
  g.patches = 1;
  g.grid_w = 1;
  g.patch_h = kSize;
  g.patch_w = kSize;
  g.kernel = kKernel;
  g.tiles = 1;
  g.tiles_w = 1;
  g.tile_h = kSize;
  g.tile_w = kSize;
  g.parts = 1;
  g.weight_channels = kChannels;
  g.eps = 1e-5f;

  const Array<float> x(std::vector<float>(kChannels * g.plane, 1.0f));
  const Array<float> mean(std::vector<float>(kChannels, 0.0f));
  const Array<float> variance(std::vector<float>(kChannels, 1.0f));
  if (std::strcmp(arguments[1], "statistics") == 0) {
    DRML_KERNEL_CALL(drml::cuda::region_statistics_kernel, kChannels, 32, 0, nullptr)
    (g, x, mean, variance);
    EXPECT(mean.get() == std::vector<float>(kChannels, 1.0f));
    EXPECT(variance.get() == std::vector<float>(kChannels, 0.0f));
  } else {
    const Array<float> weight(std::vector<float>(kChannels * kChannels * kKernel * kKernel, 1.0f));
    const Array<float> bias(std::vector<float>(kChannels, 0.0f));
    const Array<float> y(kChannels * g.plane);
    const size_t weight_floats = kChannels * kKernel * kKernel * drml::cuda::kOutputs;
    const size_t tile_floats = 2 * drml::cuda::kChunk * kSpan * kSpan;
    DRML_KERNEL_CALL(drml::cuda::region_forward_kernel<kKernel>, 1, drml::cuda::kConvolveThreads,
                     (weight_floats + tile_floats) * sizeof(float), nullptr)
    (g, x, weight, bias, mean, variance, y);
    // A corner sees four pixels of each channel, the middle nine.
    const std::vector<float> result = y.get();
    EXPECT(std::abs(result[0] - (1 + 4 * kChannels)) < 1e-3f);
    EXPECT(std::abs(result[kSize + 1] - (1 + 9 * kChannels)) < 1e-3f);
  }
  return failed ? 1 : 0;
}
