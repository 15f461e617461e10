#include "dlpack.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "check.h"
#ifdef DRML_CUDA
#include "cuda/runtime.h"
#endif

namespace py = pybind11;

namespace drml {
namespace {

// The structures of DLPack's ABI, under its names and in its order.

constexpr int32_t kDLCPU = 1;
constexpr int32_t kDLCUDA = 2;
constexpr uint8_t kDLFloat = 2;
constexpr uint64_t kDLReadOnly = 1;

struct DLTensor {
  void* data;
  int32_t device_type;
  int32_t device_id;
  int32_t ndim;
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};

struct DLManagedTensor {
  static constexpr const char* kName = "dltensor";
  static constexpr const char* kUsed = "used_dltensor";

  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

struct DLManagedTensorVersioned {
  static constexpr const char* kName = "dltensor_versioned";
  static constexpr const char* kUsed = "used_dltensor_versioned";

  uint32_t major;
  uint32_t minor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor dl_tensor;
};

void set_version(DLManagedTensor&) {}
void set_version(DLManagedTensorVersioned& managed) { managed.major = 1; }
bool is_read_only(const DLManagedTensor&) { return false; }
bool is_read_only(const DLManagedTensorVersioned& managed) {
  return (managed.flags & kDLReadOnly) != 0;
}

// What a capsule owns: a copy of the tensor, which keeps the memory, and its shape and strides.
template <typename Managed>
struct Exported {
  explicit Exported(const Tensor& kept)
      : tensor(kept), shape(kept.shape()), strides(kept.strides()) {}

  Tensor tensor;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  Managed managed{};
};

template <typename Managed>
py::capsule make_capsule(const Tensor& tensor) {
  auto* exported = new Exported<Managed>(tensor);
  Managed& managed = exported->managed;
  set_version(managed);
  managed.manager_ctx = exported;
  managed.deleter = [](Managed* self) {
    delete static_cast<Exported<Managed>*>(self->manager_ctx);
  };
  managed.dl_tensor = {tensor.data(),
                       tensor.is_cuda() ? kDLCUDA : kDLCPU,
                       tensor.device().index,
                       static_cast<int32_t>(tensor.ndim()),
                       kDLFloat,
                       32,
                       1,
                       exported->shape.data(),
                       exported->strides.data(),
                       0};
  return py::capsule(&managed, Managed::kName, [](PyObject* capsule) {
    // One that was taken has another name, and an owner.
    if (PyCapsule_IsValid(capsule, Managed::kName) == 0) return;
    auto* self = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Managed::kName));
    self->deleter(self);
  });
}

template <typename Managed>
Tensor take_capsule(const py::object& capsule) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), Managed::kName));
  if (managed == nullptr) throw py::error_already_set();
  const DLTensor& array = managed->dl_tensor;
  DRML_CHECK(array.device_type == kDLCPU || array.device_type == kDLCUDA,
             "from_dlpack: the array is on a device of DLPack's type ", array.device_type,
             "; drml computes on the CPU (1) and on CUDA (2)");
  DRML_CHECK(array.code == kDLFloat && array.bits == 32 && array.lanes == 1,
             "from_dlpack: the array holds no float32 numbers");
  DRML_CHECK(!is_read_only(*managed), "from_dlpack: the array cannot be written");
  const Shape shape(array.shape, array.shape + array.ndim);
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = array.strides == nullptr ? step : array.strides[axis];
    step *= shape[axis];
  }
  auto* first = reinterpret_cast<float*>(static_cast<char*>(array.data) + array.byte_offset);
  const bool on_cuda = array.device_type == kDLCUDA;
  const Device device{on_cuda, on_cuda ? array.device_id : 0};
#ifdef DRML_CUDA
  if (on_cuda) const cuda::Guard opened(device);
#else
  DRML_CHECK(!on_cuda, "from_dlpack: this build of drml has no CUDA backend");
#endif
  // From here on the memory is ours to give back.
  PyCapsule_SetName(capsule.ptr(), Managed::kUsed);
  const std::shared_ptr<float> storage(first, [managed](float*) {
    const py::gil_scoped_acquire gil;
    if (managed->deleter != nullptr) managed->deleter(managed);
  });
  return {storage, shape, strides, device};
}

}  // namespace

py::capsule to_dlpack(const Tensor& tensor, bool versioned) {
#ifdef DRML_CUDA
  // The array is finished before anybody reads it on a stream of his own.
  if (tensor.is_cuda()) {
    const py::gil_scoped_release release;
    cuda::synchronize(tensor.device());
  }
#endif
  return versioned ? make_capsule<DLManagedTensorVersioned>(tensor)
                   : make_capsule<DLManagedTensor>(tensor);
}

py::tuple dlpack_device(const Tensor& tensor) {
  return py::make_tuple(tensor.is_cuda() ? kDLCUDA : kDLCPU, tensor.device().index);
}

Tensor from_dlpack(const py::object& array) {
  DRML_CHECK(py::hasattr(array, "__dlpack__"), "from_dlpack: a ",
             std::string(py::str(py::type::of(array).attr("__name__"))),
             " does not share its memory (it has no __dlpack__)");
  py::object capsule;
  try {
    capsule = array.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    capsule = array.attr("__dlpack__")();
  }
  return PyCapsule_IsValid(capsule.ptr(), DLManagedTensorVersioned::kName) != 0
             ? take_capsule<DLManagedTensorVersioned>(capsule)
             : take_capsule<DLManagedTensor>(capsule);
}

}  // namespace drml
