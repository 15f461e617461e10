// y = x * scale + bias, with scale and bias broadcast over some axes of x.
#include "cuda/broadcast.h"
#include "cuda/context.h"
#include "cuda/scale_kernel.cuh"
#include "ops.h"
#include "scale_shape.h"

namespace drml {
namespace {

const float* data_or_null(const Tensor* x) { return x == nullptr ? nullptr : x->data(); }

// y = x * scale + bias, where either may be null; both lie as `parameter` does.
void scale_and_add(const char* op, const Tensor& x, const Tensor& parameter, const Tensor* scale,
                   const Tensor* bias, const Tensor& y, int64_t axis) {
  const cuda::LinesLaunch launch = cuda::make_lines(op, x, parameter, axis);
  DRML_LAUNCH(cuda::Context::of(x), cuda::scale_kernel, launch.grid, cuda::kBlock, 0, launch.lines,
              x.data(), data_or_null(scale), data_or_null(bias), y.data());
}

// dscale += sums of x * dy, dbias += sums of dy, where either may be null; both lie as `parameter`
// does. An op may call this twice: it takes as much scratch memory each time, the same for both.
void add_sums(const char* op, const Tensor& x, const Tensor& parameter, const Tensor& dy,
              const Tensor* dscale, const Tensor* dbias, int64_t axis) {
  cuda::Context& context = cuda::Context::of(x);
  const cuda::GroupsLaunch launch = cuda::make_groups(op, x, parameter, axis);
  auto* partial = reinterpret_cast<float2*>(
      context.scratch(launch.partials * static_cast<int64_t>(sizeof(float2))));
  if (launch.by_block) {
    DRML_LAUNCH(context, (cuda::scale_sums_kernel<true>), launch.grid, launch.block, 0,
                launch.groups, x.data(), dy.data(), partial);
  } else {
    DRML_LAUNCH(context, (cuda::scale_sums_kernel<false>), launch.grid, launch.block, 0,
                launch.groups, x.data(), dy.data(), partial);
  }
  DRML_LAUNCH(context, cuda::scale_add_sums_kernel, launch.grid_parts, cuda::kBlock, 0,
              launch.groups, partial, dscale == nullptr ? nullptr : dscale->data(),
              dbias == nullptr ? nullptr : dbias->data());
}

}  // namespace

void cuda::scale_forward(const Tensor& x, const Tensor* scale, const Tensor* bias, const Tensor& y,
                         int64_t axis) {
  const char* op = "scale_forward";
  check_scale_forward(op, x, scale, bias, y, axis);
  if (x.size() == 0) return;
  if (scale == nullptr) return scale_and_add(op, x, *bias, nullptr, bias, y, axis);
  const bool together = bias == nullptr || bias->same_layout(*scale);
  scale_and_add(op, x, *scale, scale, together ? bias : nullptr, y, axis);
  if (!together) scale_and_add(op, y, *bias, nullptr, bias, y, axis);
}

void cuda::scale_backward(const Tensor& x, const Tensor* scale, const Tensor& dy, const Tensor* dx,
                          const Tensor* dscale, const Tensor* dbias, int64_t axis) {
  const char* op = "scale_backward";
  check_scale_backward(op, x, scale, dy, dx, dscale, dbias, axis);
  if (x.size() == 0) return;
  // The sums come first: dx may be the memory of dy.
  const bool together = scale != nullptr && (dbias == nullptr || dbias->same_layout(*scale));
  if (dscale != nullptr || (dbias != nullptr && together)) {
    add_sums(op, x, *scale, dy, dscale, together ? dbias : nullptr, axis);
  }
  if (dbias != nullptr && !together) add_sums(op, dy, *dbias, dy, nullptr, dbias, axis);
  if (dx == nullptr) return;
  if (scale != nullptr) {
    scale_and_add(op, dy, *scale, scale, nullptr, *dx, axis);
  } else if (dx->data() != dy.data()) {
    copy(dy, *dx);
  }
}

}  // namespace drml
