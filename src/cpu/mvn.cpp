// Zero mean and unit deviation of every row: Caffe's MVN.
#include <cmath>

#include "cpu/rows.h"
#include "mvn_shape.h"
#include "ops.h"

namespace drml {

void cpu::mvn_forward(const Tensor& x, const Tensor& y, const Tensor* deviation, int64_t axis,
                      float eps) {
  const RowsShape s = make_mvn_shape("mvn_forward", x, y, deviation, axis);
  if (x.size() == 0) return;
  const float* px = x.data();
  float* py = y.data();
  const auto length = static_cast<double>(s.length);
  for_rows(s, [&](const RowPart& rows) {
    double mean[kRowsAtOnce];
    float factor[kRowsAtOnce];
    sum_rows(rows, mean, [=](int64_t at, int64_t) { return static_cast<double>(px[at]); });
    for (int64_t j = 0; j < rows.count; ++j) {
      mean[j] /= length;
      factor[j] = 1;
    }
    if (deviation != nullptr) {
      double squares[kRowsAtOnce];
      sum_rows(rows, squares, [=, &mean](int64_t at, int64_t j) {
        return (px[at] - mean[j]) * (px[at] - mean[j]);
      });
      for (int64_t j = 0; j < rows.count; ++j) {
        const auto spread = static_cast<float>(std::sqrt(squares[j] / length)) + eps;
        deviation->data()[rows.row + j] = spread;
        factor[j] = spread;
      }
    }
    for_numbers(rows, [&](int64_t at, int64_t j) {
      py[at] = static_cast<float>(px[at] - mean[j]) / factor[j];
    });
  });
}

void cpu::mvn_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, const Tensor* deviation,
                       int64_t axis) {
  const RowsShape s = make_mvn_shape("mvn_backward", y, dy, deviation, axis);
  check_same_layout("mvn_backward", y, dx);
  const float* py = y.data();
  const float* pdy = dy.data();
  float* pdx = dx.data();
  const auto length = static_cast<double>(s.length);
  for_rows(s, [&](const RowPart& rows) {
    double mean[kRowsAtOnce];
    double along[kRowsAtOnce] = {};
    float factor[kRowsAtOnce];
    sum_rows(rows, mean, [=](int64_t at, int64_t) { return static_cast<double>(pdy[at]); });
    if (deviation != nullptr) {
      sum_rows(rows, along,
               [=](int64_t at, int64_t) { return static_cast<double>(pdy[at]) * py[at]; });
    }
    for (int64_t j = 0; j < rows.count; ++j) {
      mean[j] /= length;
      along[j] /= length;
      factor[j] = deviation == nullptr ? 1.0f : deviation->data()[rows.row + j];
    }
    for_numbers(rows, [&](int64_t at, int64_t j) {
      pdx[at] = static_cast<float>(pdy[at] - mean[j] - along[j] * py[at]) / factor[j];
    });
  });
}

}  // namespace drml
