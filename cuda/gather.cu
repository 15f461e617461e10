// Rows chosen by their numbers: BatchReindex, Filter and Embed.
#include "cuda/context.h"
#include "cuda/gather_kernel.cuh"
#include "cuda/strided.h"
#include "gather_shape.h"
#include "ops.h"

namespace drml {
namespace cuda {
namespace {

GatherSizes make_sizes(const char* op, const GatherShape& s, const Tensor& index) {
  return {s.rows, s.chosen, s.length, places_of(op, index)};
}

uint64_t* index_fault(Context& context, const char* op, const GatherShape& s) {
  return context.fault([op, rows = s.rows](int64_t position, float value) {
    return wrong_row(op, value, position, rows);
  });
}

}  // namespace
}  // namespace cuda

void cuda::gather_forward(const Tensor& x, const Tensor& index, const Tensor& y) {
  const char* op = "gather_forward";
  const GatherShape s = make_gather_shape(op, x, index, y);
  if (s.size() == 0) return;
  Context& context = Context::of(y);
  DRML_LAUNCH(context, gather_forward_kernel, blocks_for(s.size()), kBlock, 0,
              make_sizes(op, s, index), x.data(), index.data(), y.data(),
              index_fault(context, op, s));
}

void cuda::gather_backward(const Tensor& dy, const Tensor& index, const Tensor& dx) {
  const char* op = "gather_backward";
  const GatherShape s = make_gather_shape(op, dx, index, dy);
  if (s.size() == 0) return;
  Context& context = Context::of(dy);
  DRML_LAUNCH(context, gather_backward_kernel, blocks_for(s.size()), kBlock, 0,
              make_sizes(op, s, index), dy.data(), index.data(), dx.data(),
              index_fault(context, op, s));
}

}  // namespace drml
