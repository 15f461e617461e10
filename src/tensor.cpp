#include "tensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>

#include "check.h"
#ifdef DRML_CUDA
#include "cuda/runtime.h"
#endif

namespace drml {
namespace {

constexpr size_t kAlignment = 64;

int64_t count(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}

std::vector<int64_t> row_major_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

std::vector<int64_t> channels_last_strides(const Shape& s) {
  return {s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]};
}

// Strides of axes of size one decide nothing.
bool equal_strides(const Shape& shape, const std::vector<int64_t>& a,
                   const std::vector<int64_t>& b) {
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] != 1 && a[axis] != b[axis]) return false;
  }
  return true;
}

// Zeros on a CUDA device; the build may have no CUDA.
std::shared_ptr<float> allocate_cuda([[maybe_unused]] const Shape& shape,
                                     [[maybe_unused]] int64_t elements,
                                     [[maybe_unused]] const Device& device) {
#ifdef DRML_CUDA
  return cuda::allocate(device.index, elements, shape);
#else
  fail("device '", device_name(device), "': this build of drml has no CUDA backend");
#endif
}

// calloc hands out untouched zero pages, so memory that is never used costs nothing.
std::shared_ptr<float> allocate(int64_t elements) {
  const size_t bytes = static_cast<size_t>(elements) * sizeof(float);
  void* block = std::calloc(bytes + kAlignment, 1);
  if (block == nullptr) throw std::bad_alloc();
  void* aligned = block;
  size_t space = bytes + kAlignment;
  std::align(kAlignment, bytes, aligned, space);
  return {static_cast<float*>(aligned), [block](float*) { std::free(block); }};
}

}  // namespace

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(shape[axis]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

Tensor::Tensor(Shape shape, bool channels_last, const Device& device)
    : device_(device), shape_(std::move(shape)) {
  int64_t elements = 1;
  for (int64_t size : shape_) {
    DRML_CHECK(size >= 0, "tensor shape ", to_string(shape_), " has a negative size");
    DRML_CHECK(size == 0 || elements <= INT64_MAX / 8 / size, "tensor shape ", to_string(shape_),
               " is too large");
    elements *= size;
  }
  DRML_CHECK(!channels_last || shape_.size() == 4, "channels_last needs four axes, got shape ",
             to_string(shape_));
  strides_ = channels_last ? channels_last_strides(shape_) : row_major_strides(shape_);
  storage_ = device.cuda ? allocate_cuda(shape_, elements, device) : allocate(elements);
}

Tensor::Tensor(std::shared_ptr<float> storage, Shape shape, std::vector<int64_t> strides,
               const Device& device)
    : storage_(std::move(storage)),
      device_(device),
      shape_(std::move(shape)),
      strides_(std::move(strides)) {}

int64_t Tensor::size() const { return count(shape_); }

bool Tensor::is_row_major() const {
  return equal_strides(shape_, strides_, row_major_strides(shape_));
}

bool Tensor::is_channels_last() const {
  return shape_.size() == 4 && equal_strides(shape_, strides_, channels_last_strides(shape_));
}

bool Tensor::is_dense() const {
  if (size() == 0) return true;
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride, size
  for (size_t axis = 0; axis < shape_.size(); ++axis) {
    if (shape_[axis] != 1) axes.emplace_back(strides_[axis], shape_[axis]);
  }
  std::sort(axes.begin(), axes.end());
  int64_t step = 1;
  for (const auto& [stride, size] : axes) {
    if (stride != step) return false;
    step *= size;
  }
  return true;
}

bool Tensor::same_layout(const Tensor& other) const {
  return shape_ == other.shape_ && equal_strides(shape_, strides_, other.strides_);
}

Tensor Tensor::view(Shape shape) const {
  DRML_CHECK(is_row_major(), "view: a tensor of shape ", to_string(shape_), " is not row-major");
  DRML_CHECK(count(shape) == size(), "view: shape ", to_string(shape_), " does not hold as many ",
             "numbers as ", to_string(shape));
  Tensor result = *this;
  result.strides_ = row_major_strides(shape);
  result.shape_ = std::move(shape);
  return result;
}

Tensor Tensor::narrow(int64_t axis, int64_t start, int64_t length) const {
  DRML_CHECK(axis >= 0 && axis < ndim(), "narrow: axis ", axis, " of shape ", to_string(shape_));
  DRML_CHECK(start >= 0 && length >= 0 && start + length <= dim(axis), "narrow: [", start, ", ",
             start + length, ") of axis ", axis, " of shape ", to_string(shape_));
  Tensor result = *this;
  result.offset_ += start * stride(axis);
  result.shape_[static_cast<size_t>(axis)] = length;
  return result;
}

}  // namespace drml
