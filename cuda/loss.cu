// What the losses launch beside their own kernels: the count of labels, and the sum of the blocks'
// shares of a large loss.
#include <algorithm>

#include "cuda/loss_kernel.cuh"
#include "cuda/loss_launch.h"
#include "cuda/strided.h"
#include "loss.h"

namespace drml::cuda {

LossGrid loss_grid(int64_t terms) {
  constexpr int64_t kTermsPerThread = 16;
  const int64_t threads = std::clamp<int64_t>((terms + 31) / 32 * 32, 32, kLossThreads);
  const int64_t terms_per_block = kLossThreads * kTermsPerThread;
  const int64_t blocks =
      std::clamp<int64_t>((terms + terms_per_block - 1) / terms_per_block, 1, kLossParts);
  return {static_cast<int>(blocks), static_cast<int>(threads)};
}

LossScratch loss_scratch(Context& context) {
  char* memory = context.scratch(kLossParts * (sizeof(double) + sizeof(int64_t)));
  auto* sums = reinterpret_cast<double*>(memory);
  return {sums, reinterpret_cast<int64_t*>(sums + kLossParts)};
}

IgnoredLabel ignored_label(const std::optional<int64_t>& label) {
  return {label.has_value(), static_cast<float>(label.value_or(0))};
}

LossDivisor make_divisor(Context& context, const char* op, const LossAttrs& attrs, int64_t outer,
                         int64_t inner, const Tensor& label, const LossScratch& scratch) {
  const int64_t labels = outer * inner;
  if (attrs.normalization != Normalization::valid || !attrs.ignore_label.has_value()) {
    return {loss_divisor(attrs.normalization, outer, inner, labels), nullptr, 0};
  }
  const LossGrid grid = loss_grid(labels);
  DRML_LAUNCH(context, count_labels_kernel, grid.blocks, grid.threads, 0, labels,
              places_of(op, label), label.data(), ignored_label(attrs.ignore_label),
              scratch.counts);
  return {0, scratch.counts, grid.blocks};
}

void finish_loss(Context& context, const LossGrid& grid, const LossDivisor& divisor,
                 const LossOutput& out) {
  if (grid.blocks == 1) return;
  DRML_LAUNCH(context, finish_loss_kernel, 1, 32, 0, grid.blocks, divisor, out);
}

}  // namespace drml::cuda
