// Local response normalization over row-major maps.
#include "cuda/context.h"
#include "cuda/lrn_kernel.cuh"
#include "elements.h"
#include "lrn_shape.h"
#include "ops.h"

namespace drml {
namespace {

cuda::LrnStrength make_strength(const LrnShape& shape, const LrnAttrs& attrs) {
  return {attrs.k, shape.scale, attrs.beta};
}

// Whether the kernels that keep a window in registers do.
bool fits_registers(const LrnAttrs& attrs) {
  return !attrs.within_channel && attrs.size == cuda::kLrnSize;
}

cuda::LrnMap make_map(const LrnShape& shape) {
  const int64_t area = shape.rows * shape.columns;
  return {shape.images * area, shape.channels, area};
}

// One thread for kLrnChannels channels of a pixel.
dim3 grid_over(const cuda::LrnMap& map) {
  return dim3(static_cast<unsigned>((map.pixels + cuda::kBlock - 1) / cuda::kBlock),
              static_cast<unsigned>((map.channels + cuda::kLrnChannels - 1) / cuda::kLrnChannels));
}

cuda::LrnWindow make_window(const LrnShape& shape, const LrnAttrs& attrs) {
  if (attrs.within_channel) {
    return {shape.rows, shape.columns, shape.columns, shape.reach, shape.reach};
  }
  return {shape.channels, 1, shape.rows * shape.columns, shape.reach, 0};
}

}  // namespace

void cuda::lrn_forward(const Tensor& x, const Tensor& y, const LrnAttrs& attrs) {
  const LrnShape shape = make_lrn_shape("lrn_forward", x, attrs);
  check_same_layout("lrn_forward", x, y);
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  const LrnStrength strength = make_strength(shape, attrs);
  if (fits_registers(attrs)) {
    const LrnMap map = make_map(shape);
    DRML_LAUNCH(context, lrn_across_forward_kernel, grid_over(map), kBlock, 0, map, strength,
                x.data(), y.data());
  } else {
    DRML_LAUNCH(context, lrn_forward_kernel, blocks_for(n), kBlock, 0, n, make_window(shape, attrs),
                strength, x.data(), y.data());
  }
}

void cuda::lrn_backward(const Tensor& x, const Tensor& dy, const Tensor& dx,
                        const LrnAttrs& attrs) {
  const LrnShape shape = make_lrn_shape("lrn_backward", x, attrs);
  check_same_layout("lrn_backward", x, dy);
  check_same_layout("lrn_backward", x, dx);
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  const LrnStrength strength = make_strength(shape, attrs);
  if (fits_registers(attrs)) {
    const LrnMap map = make_map(shape);
    DRML_LAUNCH(context, lrn_across_backward_kernel, grid_over(map), kBlock, 0, map, strength,
                x.data(), dy.data(), dx.data());
    return;
  }
  const LrnWindow window = make_window(shape, attrs);
  auto* ratio = reinterpret_cast<float*>(context.scratch(n * static_cast<int64_t>(sizeof(float))));
  DRML_LAUNCH(context, lrn_ratio_kernel, blocks_for(n), kBlock, 0, n, window, strength, x.data(),
              dy.data(), ratio, dx.data());
  DRML_LAUNCH(context, lrn_backward_kernel, blocks_for(n), kBlock, 0, n, window, strength, x.data(),
              ratio, dx.data());
}

}  // namespace drml
