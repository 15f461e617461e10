// How the losses on CUDA launch their kernels.
#pragma once

#include <cstdint>
#include <optional>

#include "attributes.h"
#include "cuda/context.h"
#include "cuda/loss.cuh"
#include "tensor.h"

namespace drml::cuda {

// Blocks that add up many terms. Small losses are one block's work, and so one launch.
struct LossGrid {
  int blocks;
  int threads;
};
LossGrid loss_grid(int64_t terms);

// Scratch memory of a loss; the one piece that the op may ask for.
struct LossScratch {
  double* sums;
  int64_t* counts;
};
LossScratch loss_scratch(Context& context);

IgnoredLabel ignored_label(const std::optional<int64_t>& label);

// The divisor for `outer` samples of `inner` predictions each. Where it depends on the labels they
// are counted on the device, into `scratch`.
LossDivisor make_divisor(Context& context, const char* op, const LossAttrs& attrs, int64_t outer,
                         int64_t inner, const Tensor& label, const LossScratch& scratch);

// Adds the blocks' shares up if there are several.
void finish_loss(Context& context, const LossGrid& grid, const LossDivisor& divisor,
                 const LossOutput& out);

}  // namespace drml::cuda
