// MAX and AVE pooling over row-major maps.
#include <climits>

#include "cuda/context.h"
#include "cuda/pooling_kernel.cuh"
#include "elements.h"
#include "ops.h"
#include "pooling_shape.h"

namespace drml {
namespace {

// Within a map, kernels count in int.
cuda::PoolingSizes make_sizes(const char* op, const PoolingShape& shape) {
  for (const Pair& pair : {shape.size, shape.windows, shape.kernel, shape.stride}) {
    DRML_CHECK(pair[0] * pair[1] <= INT_MAX / 4, op, ": sizes of ", pair[0], " x ", pair[1],
               " are too large");
  }
  cuda::PoolingSizes s{};
  for (size_t i = 0; i < 2; ++i) {
    s.size[i] = static_cast<int>(shape.size[i]);
    s.windows[i] = static_cast<int>(shape.windows[i]);
    s.kernel[i] = static_cast<int>(shape.kernel[i]);
    s.stride[i] = static_cast<int>(shape.stride[i]);
    s.pad[i] = static_cast<int>(shape.pad[i]);
  }
  return s;
}

}  // namespace

void cuda::pooling_forward(const Tensor& x, const Tensor& y, const PoolingAttrs& attrs) {
  const char* op = "pooling_forward";
  const PoolingSizes sizes = make_sizes(op, make_pooling_shape(op, x, y, attrs));
  const int64_t n = y.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  if (attrs.max) {
    DRML_LAUNCH(context, max_pooling_forward_kernel, blocks_for(n), kBlock, 0, sizes, n, x.data(),
                y.data());
  } else {
    DRML_LAUNCH(context, ave_pooling_forward_kernel, blocks_for(n), kBlock, 0, sizes, n, x.data(),
                y.data());
  }
}

void cuda::pooling_mask(const Tensor& x, const Tensor& mask, const PoolingAttrs& attrs) {
  const PoolingSizes sizes = make_sizes("pooling_mask", make_mask_shape(x, mask, attrs));
  const int64_t n = mask.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH(context, max_pooling_mask_kernel, blocks_for(n), kBlock, 0, sizes, n, x.data(),
              mask.data());
}

void cuda::pooling_backward(const Tensor& x, const Tensor& dy, const Tensor& dx,
                            const PoolingAttrs& attrs) {
  const char* op = "pooling_backward";
  const PoolingSizes sizes = make_sizes(op, make_pooling_shape(op, x, dy, attrs));
  check_same_layout(op, x, dx);
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(x);
  if (attrs.max) {
    DRML_LAUNCH(context, max_pooling_backward_kernel, blocks_for(n), kBlock, 0, sizes, n, x.data(),
                dy.data(), dx.data());
  } else {
    DRML_LAUNCH(context, ave_pooling_backward_kernel, blocks_for(n), kBlock, 0, sizes, n, dy.data(),
                dx.data());
  }
}

}  // namespace drml
