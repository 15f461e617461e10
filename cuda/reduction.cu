// Sums over the last axes: Caffe's Reduction.
#include <algorithm>

#include "cuda/context.h"
#include "cuda/reduction_kernel.cuh"
#include "elements.h"
#include "ops.h"
#include "reduction_shape.h"

namespace drml {
namespace cuda {
namespace {

// A few long rows are cut, so that they keep a large device busy.
RowParts make_parts(const RowsShape& s) {
  constexpr int64_t kTeams = 1024;
  constexpr int64_t kLeast = 4096;  // numbers of a part
  const int64_t wanted =
      std::max<int64_t>(1, std::min(kTeams / std::max<int64_t>(1, s.rows()), s.length / kLeast));
  const int64_t length = std::max<int64_t>(1, (s.length + wanted - 1) / wanted);
  const int64_t parts = std::max<int64_t>(1, (s.length + length - 1) / length);
  return {s.rows(), s.length, parts, length};
}

}  // namespace
}  // namespace cuda

void cuda::reduction_forward(const Tensor& x, const Tensor& y, int64_t axis, Reduction operation,
                             float coeff) {
  const RowParts rows = make_parts(make_reduction_shape("reduction_forward", x, y, axis));
  if (y.size() == 0) return;
  Context& context = Context::of(x);
  const int64_t count = rows.rows * rows.parts;
  auto* partial =
      reinterpret_cast<double*>(context.scratch(count * static_cast<int64_t>(sizeof(double))));
  const int what = static_cast<int>(operation);
  if (rows.part_length >= kLineThreads) {
    DRML_LAUNCH(context, (reduce_parts_kernel<kLineThreads>), blocks_for(count, 1), kLineThreads, 0,
                rows, what, x.data(), partial);
  } else {
    DRML_LAUNCH(context, (reduce_parts_kernel<1>), blocks_for(count), kBlock, 0, rows, what,
                x.data(), partial);
  }
  DRML_LAUNCH(context, reduce_rows_kernel, blocks_for(rows.rows), kBlock, 0, rows, coeff, partial,
              y.data());
}

void cuda::reduction_backward(const Tensor& x, const Tensor& dy, const Tensor& dx, int64_t axis,
                              Reduction operation, float coeff) {
  const RowParts rows = make_parts(make_reduction_shape("reduction_backward", x, dy, axis));
  check_same_layout("reduction_backward", x, dx);
  if (x.size() == 0) return;
  Context& context = Context::of(x);
  DRML_LAUNCH(context, reduction_backward_kernel, blocks_for(x.size()), kBlock, 0, rows,
              static_cast<int>(operation), coeff, x.data(), dy.data(), dx.data());
}

}  // namespace drml
