// A float32 array with shape and strides over shared memory: what every op reads and writes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device.h"

namespace drml {

using Shape = std::vector<int64_t>;

std::string to_string(const Shape& shape);

class Tensor {
 public:
  // Zeros, 64-byte aligned. Four axes may lie channels-last: shape (N, C, H, W), memory N, H, W, C.
  Tensor(Shape shape, bool channels_last, const Device& device = {});
  // Memory that somebody else allocated; the pointer keeps it.
  Tensor(std::shared_ptr<float> storage, Shape shape, std::vector<int64_t> strides,
         const Device& device);

  const Shape& shape() const { return shape_; }
  const std::vector<int64_t>& strides() const { return strides_; }  // in elements
  int64_t ndim() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t axis) const { return shape_[static_cast<size_t>(axis)]; }
  int64_t stride(int64_t axis) const { return strides_[static_cast<size_t>(axis)]; }
  int64_t size() const;
  float* data() const { return storage_.get() + offset_; }
  const Device& device() const { return device_; }
  bool is_cuda() const { return device_.cuda; }

  bool is_row_major() const;
  bool is_channels_last() const;  // four axes, memory order N, H, W, C
  bool is_dense() const;          // some order of the axes leaves no gap
  bool same_layout(const Tensor& other) const;

  // The same memory under another shape; row-major tensors only.
  Tensor view(Shape shape) const;
  // The part [start, start + length) of one axis, in the same memory.
  Tensor narrow(int64_t axis, int64_t start, int64_t length) const;

 private:
  std::shared_ptr<float> storage_;
  int64_t offset_ = 0;
  Device device_;
  Shape shape_;
  std::vector<int64_t> strides_;
};

}  // namespace drml
