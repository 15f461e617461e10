// The updates of Caffe's solvers: one pass over a parameter, its gradient and its history.
#include "cpu/elementwise.h"
#include "ops.h"
#include "solver_update_rule.h"

namespace drml {
namespace {

// Calls rule(weight, gradient, history...) for every weight.
template <typename Rule, typename... History>
void update(const char* op, Rule rule, const Tensor& weight, const Tensor& dweight,
            const History&... history) {
  check_same_layout(op, weight, dweight);
  (check_same_layout(op, weight, history), ...);
  const auto visit = [&](float* w, const float* g, auto*... h) {
    for_each_index(weight.size(), [=](int64_t i) { rule(w[i], g[i], h[i]...); });
  };
  visit(weight.data(), dweight.data(), history.data()...);
}

}  // namespace

void cpu::sgd_update(const Tensor& weight, const Tensor& dweight, const Tensor& velocity,
                     float rate, float momentum, float decay, bool l1) {
  update("sgd_update", SgdRule{{decay, l1}, rate, momentum}, weight, dweight, velocity);
}

void cpu::nesterov_update(const Tensor& weight, const Tensor& dweight, const Tensor& velocity,
                          float rate, float momentum, float decay, bool l1) {
  update("nesterov_update", NesterovRule{{decay, l1}, rate, momentum}, weight, dweight, velocity);
}

void cpu::adagrad_update(const Tensor& weight, const Tensor& dweight, const Tensor& squares,
                         float rate, float delta, float decay, bool l1) {
  update("adagrad_update", AdaGradRule{{decay, l1}, rate, delta}, weight, dweight, squares);
}

void cpu::rmsprop_update(const Tensor& weight, const Tensor& dweight, const Tensor& squares,
                         float rate, float rms_decay, float delta, float decay, bool l1) {
  update("rmsprop_update", RmsPropRule{{decay, l1}, rate, rms_decay, delta}, weight, dweight,
         squares);
}

void cpu::adadelta_update(const Tensor& weight, const Tensor& dweight, const Tensor& squares,
                          const Tensor& changes, float rate, float momentum, float delta,
                          float decay, bool l1) {
  update("adadelta_update", AdaDeltaRule{{decay, l1}, rate, momentum, delta}, weight, dweight,
         squares, changes);
}

void cpu::adam_update(const Tensor& weight, const Tensor& dweight, const Tensor& mean,
                      const Tensor& squares, float rate, float momentum, float momentum2,
                      float delta, float decay, bool l1) {
  update("adam_update", AdamRule{{decay, l1}, rate, momentum, momentum2, delta}, weight, dweight,
         mean, squares);
}

}  // namespace drml
