// Fraction of samples whose label is among the top_k scores: Caffe's Accuracy.
#include "accuracy_shape.h"
#include "cuda/accuracy_kernel.cuh"
#include "cuda/context.h"
#include "cuda/lines.h"
#include "cuda/loss_launch.h"
#include "cuda/strided.h"
#include "loss.h"
#include "ops.h"

namespace drml {

void cuda::accuracy_forward(const Tensor& x, const Tensor& label, const Tensor& y,
                            const Tensor* per_class, int64_t top_k, int64_t axis,
                            std::optional<int64_t> ignore_label) {
  const char* op = "accuracy_forward";
  const int64_t classes = check_accuracy_shapes(x, label, y, per_class, axis).length();
  Context& context = Context::of(x);
  const int64_t bytes = 2 * classes * static_cast<int64_t>(sizeof(unsigned));
  auto* memory = reinterpret_cast<unsigned*>(context.scratch(bytes));
  const AccuracyCounts counts = {memory, memory + classes};
  context.check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), context.stream()),
                "cudaMemsetAsync");
  const LinePlaces lines = places_of_lines(op, x, axis);
  const AccuracyLabels labels = {places_of(op, label), ignored_label(ignore_label), top_k};
  uint64_t* fault = context.fault(
      [=](int64_t position, float value) { return wrong_class(op, value, position, classes); });
  DRML_LAUNCH_LINES(context, count_right_kernel, lines, x.data(), labels, label.data(), fault,
                    counts);
  DRML_LAUNCH(context, accuracy_kernel, 1, kBlock, 0, classes, counts, y.data(),
              per_class == nullptr ? nullptr : per_class->data());
}

}  // namespace drml
