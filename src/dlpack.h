// DLPack (dmlc.github.io/dlpack): the memory of tensors shared with NumPy, PyTorch, CuPy and
// others.
#pragma once

#include <pybind11/pybind11.h>

#include "tensor.h"

namespace drml {

// A capsule that keeps the tensor's memory; `versioned` is DLPack 1.0's, which may be written to by
// those who would take the older one as read-only.
pybind11::capsule to_dlpack(const Tensor& tensor, bool versioned);
// DLPack's numbers of the device: its type and its index.
pybind11::tuple dlpack_device(const Tensor& tensor);
// A tensor in the memory of `array`, an object with __dlpack__; throws std::invalid_argument for
// what is not a writable float32 array on the CPU or on CUDA.
Tensor from_dlpack(const pybind11::object& array);

}  // namespace drml
