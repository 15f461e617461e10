// Batch normalization, without scale and shift. By hand, because oneDNN sums a batch's statistics
// one number after the other in float32: over 16 maps of 160 x 160 whose mean is 30 deviations it
// is off by 1e-4 of a deviation, where sums in double cost hardly more and are exact.
#include <cmath>

#include "batch_norm_shape.h"
#include "cpu/broadcast.h"
#include "ops.h"

namespace drml {
namespace {

// 1 / sqrt(variance + eps), per channel.
std::vector<float> inverse_deviation(const Tensor& variance, float eps) {
  std::vector<float> result(static_cast<size_t>(variance.size()));
  for (size_t c = 0; c < result.size(); ++c) {
    result[c] = static_cast<float>(1 / std::sqrt(static_cast<double>(variance.data()[c]) + eps));
  }
  return result;
}

}  // namespace

void cpu::batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& variance,
                             const Tensor& y, float eps, bool frozen) {
  const char* op = "batch_norm_forward";
  const BatchNormShape shape = make_batch_norm_shape(op, x, mean, variance);
  check_same_layout(op, x, y);
  const Broadcast broadcast(x, mean, 1);
  const float* from = x.data();
  if (!frozen) {
    const Sums sums = sum_by_parameter(broadcast, shape.channels, [=](int64_t i, int64_t) {
      const double value = from[i];
      return Terms{value, value * value};
    });
    const auto count = static_cast<double>(shape.count);
    for (size_t c = 0; c < sums.first.size(); ++c) {
      const double average = sums.first[c] / count;
      mean.data()[c] = static_cast<float>(average);
      variance.data()[c] =
          static_cast<float>(std::fmax(sums.second[c] / count - average * average, 0.0));
    }
  }
  const std::vector<float> inverse = inverse_deviation(variance, eps);
  const float* factor = inverse.data();
  const float* centre = mean.data();
  float* to = y.data();
  for_each_element(broadcast,
                   [=](int64_t i, int64_t c) { to[i] = (from[i] - centre[c]) * factor[c]; });
}

void cpu::batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& variance,
                              const Tensor& dy, const Tensor& dx, float eps, bool frozen) {
  const char* op = "batch_norm_backward";
  const BatchNormShape shape = make_batch_norm_shape(op, x, mean, variance);
  check_same_layout(op, x, dy);
  check_same_layout(op, x, dx);
  const Broadcast broadcast(x, mean, 1);
  const std::vector<float> inverse = inverse_deviation(variance, eps);
  const float* factor = inverse.data();
  const float* from = x.data();
  const float* gradient = dy.data();
  float* to = dx.data();
  if (frozen) {
    for_each_element(broadcast, [=](int64_t i, int64_t c) { to[i] = gradient[i] * factor[c]; });
    return;
  }
  const float* centre = mean.data();
  const Sums sums = sum_by_parameter(broadcast, shape.channels, [=](int64_t i, int64_t c) {
    const double g = gradient[i];
    return Terms{g, g * (static_cast<double>(from[i]) - centre[c])};
  });
  // dx = (dy - average of dy - slope * (x - mean)) / deviation.
  const auto count = static_cast<double>(shape.count);
  std::vector<float> averages(inverse.size());
  std::vector<float> slopes(inverse.size());
  for (size_t c = 0; c < inverse.size(); ++c) {
    averages[c] = static_cast<float>(sums.first[c] / count);
    slopes[c] = static_cast<float>(sums.second[c] / count * inverse[c] * inverse[c]);
  }
  const float* average = averages.data();
  const float* slope = slopes.data();
  for_each_element(broadcast, [=](int64_t i, int64_t c) {
    to[i] = (gradient[i] - average[c] - slope[c] * (from[i] - centre[c])) * factor[c];
  });
}

}  // namespace drml
