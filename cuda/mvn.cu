// Zero mean and unit deviation of every row: Caffe's MVN.
#include "cuda/context.h"
#include "cuda/mvn_kernel.cuh"
#include "mvn_shape.h"
#include "ops.h"

namespace drml {

void cuda::mvn_forward(const Tensor& x, const Tensor& y, const Tensor* deviation, int64_t axis,
                       float eps) {
  const RowsShape s = make_mvn_shape("mvn_forward", x, y, deviation, axis);
  if (x.size() == 0) return;
  Context& context = Context::of(x);
  const MvnRows rows = {s.rows(), s.length};
  float* divisors = deviation == nullptr ? nullptr : deviation->data();
  if (rows.length >= kLineThreads) {
    DRML_LAUNCH(context, (mvn_forward_kernel<kLineThreads>), blocks_for(rows.count, 1),
                kLineThreads, 0, rows, eps, x.data(), y.data(), divisors);
  } else {
    DRML_LAUNCH(context, (mvn_forward_kernel<1>), blocks_for(rows.count), kBlock, 0, rows, eps,
                x.data(), y.data(), divisors);
  }
}

void cuda::mvn_backward(const Tensor& y, const Tensor& dy, const Tensor& dx,
                        const Tensor* deviation, int64_t axis) {
  const RowsShape s = make_mvn_shape("mvn_backward", y, dy, deviation, axis);
  check_same_layout("mvn_backward", y, dx);
  if (y.size() == 0) return;
  Context& context = Context::of(y);
  const MvnRows rows = {s.rows(), s.length};
  const float* divisors = deviation == nullptr ? nullptr : deviation->data();
  if (rows.length >= kLineThreads) {
    DRML_LAUNCH(context, (mvn_backward_kernel<kLineThreads>), blocks_for(rows.count, 1),
                kLineThreads, 0, rows, y.data(), dy.data(), divisors, dx.data());
  } else {
    DRML_LAUNCH(context, (mvn_backward_kernel<1>), blocks_for(rows.count), kBlock, 0, rows,
                y.data(), dy.data(), divisors, dx.data());
  }
}

}  // namespace drml
