// The locally connected layer over row-major maps: a convolution whose filters differ from place to
// place.
#include "cuda/context.h"
#include "cuda/local_kernel.cuh"
#include "local_shape.h"
#include "ops.h"

namespace drml {
namespace {

cuda::LocalMap make_map(const char* op, const LocalShape& s) {
  for (const int64_t numbers :
       {s.channels * s.x[0] * s.x[1], s.outputs * s.locations(), s.outputs * s.depth(), s.images}) {
    DRML_CHECK(numbers <= INT32_MAX, op, ": an image or the filters of a location have ", numbers,
               " numbers, which is too many");
  }
  const auto narrow = [](int64_t size) { return static_cast<int>(size); };
  return {narrow(s.images),         narrow(s.channels),
          narrow(s.x[0]),           narrow(s.x[1]),
          narrow(s.outputs),        narrow(s.locations()),
          narrow(s.y[1]),           narrow(s.kernel[0]),
          narrow(s.kernel[1]),      narrow(s.stride[0]),
          narrow(s.stride[1]),      narrow(s.pad[0]),
          narrow(s.pad[1]),         narrow(s.channels / s.group),
          narrow(s.group_outputs())};
}

int parts(int64_t count, int64_t size) { return static_cast<int>((count + size - 1) / size); }

// Tiles of 16 outputs, and of 256 numbers of a filter, in all groups.
int output_tiles(const LocalShape& s) {
  return static_cast<int>(s.group) * parts(s.group_outputs(), cuda::kLocalOutputs);
}

int number_tiles(const LocalShape& s) { return parts(s.depth(), cuda::kLocalTileNumbers); }

template <int kImages>
void launch_forward(const LocalShape& s, const cuda::LocalMap& map, const Tensor& x,
                    const Tensor& weight, const Tensor* bias, const Tensor& y) {
  const int image_tiles = parts(s.images, cuda::kLocalLanes * kImages);
  const dim3 grid(static_cast<unsigned>(s.locations() * output_tiles(s) * image_tiles));
  DRML_LAUNCH(cuda::Context::of(x), (cuda::local_forward_kernel<kImages>), grid,
              cuda::kLocalForwardThreads, 0, map, output_tiles(s), image_tiles, x.data(),
              weight.data(), bias != nullptr ? bias->data() : nullptr, s.bias_per_location,
              y.data());
}

void add_dx(cuda::Context& context, const LocalShape& s, const cuda::LocalMap& map,
            const Tensor& weight, const Tensor& dy, const Tensor& dx) {
  context.check(cudaMemsetAsync(dx.data(), 0, static_cast<size_t>(dx.size()) * sizeof(float),
                                context.stream()),
                "cudaMemsetAsync");
  const LocalTiles tiles = make_local_tiles(s);
  const int image_tiles = parts(s.images, cuda::kLocalImages);
  const int channel_tiles =
      static_cast<int>(s.group) * parts(map.group_channels, cuda::local_tile_channels(map));
  for (int64_t color = 0; color < LocalTiles::kColors; ++color) {
    const cuda::LocalTileGrid grid{static_cast<int>(tiles.across(color)),
                                   static_cast<int>(tiles.size[0]), static_cast<int>(tiles.size[1]),
                                   static_cast<int>(tiles.row_parity(color)),
                                   static_cast<int>(tiles.column_parity(color))};
    const int64_t blocks = tiles.down(color) * tiles.across(color) * channel_tiles * image_tiles;
    if (blocks == 0) continue;
    DRML_LAUNCH(context, cuda::local_dx_kernel, static_cast<unsigned>(blocks),
                cuda::kLocalBackwardThreads, 0, map, grid, channel_tiles, image_tiles,
                weight.data(), dy.data(), dx.data());
  }
}

void add_dbias(cuda::Context& context, const LocalShape& s, const cuda::LocalMap& map,
               const Tensor& dy, const Tensor& dbias) {
  const int64_t numbers = s.outputs * s.locations();
  auto* sums =
      reinterpret_cast<float*>(context.scratch(numbers * static_cast<int64_t>(sizeof(float))));
  DRML_LAUNCH(context, cuda::local_bias_sums_kernel, cuda::blocks_for(numbers), cuda::kBlock, 0,
              map.images, numbers, dy.data(), sums);
  if (s.bias_per_location) {
    DRML_LAUNCH(context, cuda::local_location_bias_kernel, cuda::blocks_for(numbers), cuda::kBlock,
                0, map.outputs, s.locations(), sums, dbias.data());
  } else {
    DRML_LAUNCH(context, cuda::local_channel_bias_kernel, static_cast<unsigned>(s.outputs),
                cuda::kBlock, 0, s.locations(), sums, dbias.data());
  }
}

}  // namespace

void cuda::local_forward(const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y,
                         const LocalAttrs& attrs) {
  const char* op = "local_forward";
  const LocalShape s = make_local_shape(op, x, weight, bias, y, attrs);
  const LocalMap map = make_map(op, s);
  if (s.images == 0) return;
  // The more images a block has, the more often it uses a filter; no more than there are.
  if (s.images <= kLocalLanes) {
    launch_forward<1>(s, map, x, weight, bias, y);
  } else if (s.images <= 2 * kLocalLanes) {
    launch_forward<2>(s, map, x, weight, bias, y);
  } else {
    launch_forward<4>(s, map, x, weight, bias, y);
  }
}

void cuda::local_backward(const Tensor& x, const Tensor& weight, const Tensor& dy, const Tensor* dx,
                          const Tensor* dweight, const Tensor* dbias, const LocalAttrs& attrs,
                          bool overwrite) {
  const char* op = "local_backward";
  const LocalShape s = make_local_shape(op, x, weight, dbias, dy, attrs);
  check_window_gradients(op, x, weight, dx, dweight);
  const LocalMap map = make_map(op, s);
  if (s.images == 0) {
    if (overwrite && dweight != nullptr) fill(*dweight, 0);
    return;
  }
  Context& context = Context::of(x);
  if (dx != nullptr) add_dx(context, s, map, weight, dy, *dx);
  if (dweight != nullptr) {
    const int64_t blocks = s.locations() * output_tiles(s) * number_tiles(s);
    DRML_LAUNCH(context, local_dweight_kernel, static_cast<unsigned>(blocks), kLocalBackwardThreads,
                0, map, output_tiles(s), number_tiles(s), x.data(), dy.data(), overwrite,
                dweight->data());
  }
  if (dbias != nullptr) add_dbias(context, s, map, dy, *dbias);
}

}  // namespace drml
