// The updates of Caffe's solvers: one kernel per parameter.
#include "cuda/context.h"
#include "cuda/solver_update_kernel.cuh"
#include "elements.h"
#include "ops.h"

namespace drml {
namespace cuda {
namespace {

// Launches rule(weight, gradient, history) for every weight.
template <typename Rule>
void update(const char* op, Rule rule, const Tensor& weight, const Tensor& dweight,
            const Tensor& history) {
  check_same_layout(op, weight, dweight);
  check_same_layout(op, weight, history);
  const int64_t n = weight.size();
  if (n == 0) return;
  Context& context = Context::of(weight);
  DRML_LAUNCH(context, (update_kernel<Rule>), blocks_for((n + 3) / 4), kBlock, 0, n, weight.data(),
              dweight.data(), history.data(), rule);
}

// The same for solvers with two histories.
template <typename Rule>
void update(const char* op, Rule rule, const Tensor& weight, const Tensor& dweight,
            const Tensor& history, const Tensor& history2) {
  check_same_layout(op, weight, dweight);
  check_same_layout(op, weight, history);
  check_same_layout(op, weight, history2);
  const int64_t n = weight.size();
  if (n == 0) return;
  Context& context = Context::of(weight);
  DRML_LAUNCH(context, (update2_kernel<Rule>), blocks_for((n + 3) / 4), kBlock, 0, n, weight.data(),
              dweight.data(), history.data(), history2.data(), rule);
}

}  // namespace
}  // namespace cuda

void cuda::sgd_update(const Tensor& weight, const Tensor& dweight, const Tensor& velocity,
                      float rate, float momentum, float decay, bool l1) {
  update("sgd_update", SgdRule{{decay, l1}, rate, momentum}, weight, dweight, velocity);
}

void cuda::nesterov_update(const Tensor& weight, const Tensor& dweight, const Tensor& velocity,
                           float rate, float momentum, float decay, bool l1) {
  update("nesterov_update", NesterovRule{{decay, l1}, rate, momentum}, weight, dweight, velocity);
}

void cuda::adagrad_update(const Tensor& weight, const Tensor& dweight, const Tensor& squares,
                          float rate, float delta, float decay, bool l1) {
  update("adagrad_update", AdaGradRule{{decay, l1}, rate, delta}, weight, dweight, squares);
}

void cuda::rmsprop_update(const Tensor& weight, const Tensor& dweight, const Tensor& squares,
                          float rate, float rms_decay, float delta, float decay, bool l1) {
  update("rmsprop_update", RmsPropRule{{decay, l1}, rate, rms_decay, delta}, weight, dweight,
         squares);
}

void cuda::adadelta_update(const Tensor& weight, const Tensor& dweight, const Tensor& squares,
                           const Tensor& changes, float rate, float momentum, float delta,
                           float decay, bool l1) {
  update("adadelta_update", AdaDeltaRule{{decay, l1}, rate, momentum, delta}, weight, dweight,
         squares, changes);
}

void cuda::adam_update(const Tensor& weight, const Tensor& dweight, const Tensor& mean,
                       const Tensor& squares, float rate, float momentum, float momentum2,
                       float delta, float decay, bool l1) {
  update("adam_update", AdamRule{{decay, l1}, rate, momentum, momentum2, delta}, weight, dweight,
         mean, squares);
}

}  // namespace drml
