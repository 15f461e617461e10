// The Python module drml._core: Tensor and one function per op of ops.h.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "dlpack.h"
#include "ops.h"
#include "runtime.h"
#ifdef DRML_CUDA
#include "cuda/runtime.h"
#endif

namespace py = pybind11;

namespace drml {
namespace {

// The device of an op's tensors, which must be one.
class CommonDevice {
 public:
  explicit CommonDevice(const char* op) : op_(op) {}

  void see(const Tensor& tensor) {
    if (!seen_) device_ = tensor.device();
    seen_ = true;
    DRML_CHECK(tensor.device() == device_, op_, ": tensors on ", device_name(device_), " and ",
               device_name(tensor.device()));
  }
  void see(const Tensor* tensor) {
    if (tensor != nullptr) see(*tensor);
  }
  void see(const std::vector<Tensor>& tensors) {
    for (const Tensor& tensor : tensors) see(tensor);
  }
  template <typename Other>
  void see(const Other&) {}  // numbers and attributes

  const Device& get() const { return device_; }

 private:
  const char* op_;
  bool seen_ = false;
  Device device_;
};

// Makes the Python function of an op: runs it in the backend of its tensors, without the GIL.
template <typename Result, typename... Args, typename... Names>
void bind(py::module_& module, const char* name, Result (*on_cpu)(Args...),
          [[maybe_unused]] Result (*on_cuda)(Args...), Names... names) {
  const auto run = [=](Args... args) -> Result {
    CommonDevice device(name);
    (device.see(args), ...);
#ifdef DRML_CUDA
    if (device.get().cuda) {
      const cuda::Guard guard(device.get());
      return on_cuda(args...);
    }
#endif
    return on_cpu(args...);
  };
  module.def(name, run, py::call_guard<py::gil_scoped_release>(), names...);
}

#ifdef DRML_CUDA
#define DRML_BIND(name, ...) bind(module, #name, &cpu::name, &cuda::name, __VA_ARGS__)
#else
#define DRML_BIND(name, ...) \
  bind(module, #name, &cpu::name, static_cast<decltype(&cpu::name)>(nullptr), __VA_ARGS__)
#endif

py::array array_over(const Tensor& tensor, float* data, const py::object& owner) {
  std::vector<py::ssize_t> strides;
  for (int64_t stride : tensor.strides()) strides.push_back(stride * 4);
  const std::vector<py::ssize_t> shape(tensor.shape().begin(), tensor.shape().end());
  return py::array(py::dtype::of<float>(), shape, strides, data, owner);
}

py::array numpy_view(const py::object& self) {
  const auto& tensor = self.cast<const Tensor&>();
  DRML_CHECK(!tensor.is_cuda(), "a tensor on ", device_name(tensor.device()),
             " has no NumPy view; get() copies it to the host");
  return array_over(tensor, tensor.data(), self);
}

#ifdef DRML_CUDA
// An array on the host that lies in memory as a dense tensor does.
py::array host_array(const Tensor& tensor) {
  py::array_t<float> block(tensor.size());
  return array_over(tensor, block.mutable_data(), block);
}

// The same numbers without gaps in memory.
Tensor without_gaps(const Tensor& tensor) {
  Tensor dense(tensor.shape(), false, tensor.device());
  const cuda::Guard guard(tensor.device());
  cuda::copy(tensor, dense);
  return dense;
}
#endif

py::array get(const py::object& self) {
#ifdef DRML_CUDA
  const auto& tensor = self.cast<const Tensor&>();
  if (tensor.is_cuda()) {
    const Tensor dense = tensor.is_dense() ? tensor : without_gaps(tensor);
    const py::array host = host_array(dense);
    auto* to = static_cast<float*>(const_cast<void*>(host.data()));
    const py::gil_scoped_release release;
    cuda::download(dense, to);
    return host;
  }
#endif
  return numpy_view(self).attr("copy")().cast<py::array>();
}

void set(const py::object& self, const py::object& values) {
#ifdef DRML_CUDA
  const auto& tensor = self.cast<const Tensor&>();
  if (tensor.is_cuda()) {
    const Tensor dense =
        tensor.is_dense() ? tensor : Tensor(tensor.shape(), false, tensor.device());
    const py::array host = host_array(dense);
    host[py::ellipsis()] = values;
    const auto* from = static_cast<const float*>(host.data());
    const py::gil_scoped_release release;
    cuda::upload(from, dense);
    if (!tensor.is_dense()) {
      const cuda::Guard guard(tensor.device());
      cuda::copy(dense, tensor);
    }
    return;
  }
#endif
  numpy_view(self)[py::ellipsis()] = values;
}

py::tuple as_tuple(const std::vector<int64_t>& values) {
  py::tuple result(values.size());
  for (size_t i = 0; i < values.size(); ++i) result[i] = values[i];
  return result;
}

void bind_tensor(py::module_& module) {
  py::class_<Tensor>(module, "Tensor", "A float32 array that ops read and write.")
      .def(py::init([](Shape shape, bool channels_last, const std::string& device) {
             return Tensor(std::move(shape), channels_last, parse_device(device));
           }),
           py::arg("shape"), py::arg("channels_last") = false, py::arg("device") = "cpu")
      .def_property_readonly("shape", [](const Tensor& t) { return as_tuple(t.shape()); })
      .def_property_readonly("strides", [](const Tensor& t) { return as_tuple(t.strides()); })
      .def_property_readonly("size", &Tensor::size)
      .def_property_readonly("device", [](const Tensor& t) { return device_name(t.device()); })
      .def("numpy", &numpy_view, "A writable NumPy view of the same memory, which is the host's.")
      .def_property_readonly(
          "pointer", [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.data()); },
          "Address of the first number, on its device.")
      .def(
          "__dlpack__",
          [](const Tensor& t, const py::object&, const py::object& max_version, const py::object&,
             const py::object& copy) {
            if (!copy.is_none() && copy.cast<bool>()) {
              throw py::buffer_error("a tensor shares its memory and makes no copy");
            }
            const bool versioned =
                !max_version.is_none() && max_version[py::int_(0)].cast<int>() >= 1;
            return to_dlpack(t, versioned);
          },
          py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
          py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__", &dlpack_device)
      .def("get", &get, "A copy as a NumPy array.")
      .def("set", &set, py::arg("values"), "Copies an array, or what broadcasts to one, to it.")
      .def("view", &Tensor::view, py::arg("shape"))
      .def("narrow", &Tensor::narrow, py::arg("axis"), py::arg("start"), py::arg("length"));
}

void bind_attributes(py::module_& module) {
  py::class_<ConvolutionAttrs>(module, "ConvolutionAttrs")
      .def(py::init([](Pair stride, Pair pad, Pair dilation, int64_t group) {
             return ConvolutionAttrs{stride, pad, dilation, group};
           }),
           py::arg("stride") = Pair{1, 1}, py::arg("pad") = Pair{0, 0},
           py::arg("dilation") = Pair{1, 1}, py::arg("group") = 1);
  py::class_<LocalAttrs>(module, "LocalAttrs")
      .def(py::init(
               [](Pair stride, Pair pad, int64_t group) { return LocalAttrs{stride, pad, group}; }),
           py::arg("stride") = Pair{1, 1}, py::arg("pad") = Pair{0, 0}, py::arg("group") = 1);
  py::class_<PoolingAttrs>(module, "PoolingAttrs")
      .def(py::init([](bool max, Pair kernel, Pair stride, Pair pad) {
             return PoolingAttrs{max, kernel, stride, pad};
           }),
           py::arg("max"), py::arg("kernel"), py::arg("stride") = Pair{1, 1},
           py::arg("pad") = Pair{0, 0});
  py::class_<RegionAttrs>(module, "RegionAttrs")
      .def(py::init([](Pair grid, int64_t pad, float eps, bool frozen) {
             return RegionAttrs{grid, pad, eps, frozen};
           }),
           py::arg("grid"), py::arg("pad"), py::arg("eps"), py::arg("frozen"));
  py::enum_<Normalization>(module, "Normalization")
      .value("FULL", Normalization::full)
      .value("VALID", Normalization::valid)
      .value("BATCH_SIZE", Normalization::batch_size)
      .value("NONE", Normalization::none);
  py::class_<LossAttrs>(module, "LossAttrs")
      .def(py::init([](Normalization normalization, std::optional<int64_t> ignore_label) {
             return LossAttrs{normalization, ignore_label};
           }),
           py::arg("normalization"), py::arg("ignore_label") = py::none());
  py::enum_<Reduction>(module, "Reduction")
      .value("SUM", Reduction::sum)
      .value("ASUM", Reduction::asum)
      .value("SUMSQ", Reduction::sumsq);
  py::class_<LrnAttrs>(module, "LrnAttrs")
      .def(py::init([](int64_t size, float alpha, float beta, float k, bool within_channel) {
             return LrnAttrs{size, alpha, beta, k, within_channel};
           }),
           py::arg("size"), py::arg("alpha"), py::arg("beta"), py::arg("k"),
           py::arg("within_channel"));
  py::enum_<NeuronKind>(module, "NeuronKind")
      .value("TANH", NeuronKind::tanh)
      .value("ELU", NeuronKind::elu)
      .value("ABSVAL", NeuronKind::absval)
      .value("POWER", NeuronKind::power)
      .value("EXP", NeuronKind::exp)
      .value("LOG", NeuronKind::log)
      .value("BNLL", NeuronKind::bnll)
      .value("THRESHOLD", NeuronKind::threshold);
  py::class_<NeuronAttrs>(module, "NeuronAttrs")
      .def(py::init([](NeuronKind kind, float a, float b, float c) {
             return NeuronAttrs{kind, a, b, c};
           }),
           py::arg("kind"), py::arg("a") = 0.0f, py::arg("b") = 0.0f, py::arg("c") = 0.0f);
}

void bind_runtime(py::module_& module) {
  module.def("onednn_version", &onednn_version, "Version of the oneDNN library in use.");
  module.def("onednn_isa", &onednn_isa, "Instruction set that oneDNN uses.");
  module.def("isa", &kernel_isa, "Instruction set that drml's own kernels use.");
  module.def("set_threads", &set_threads, py::arg("count"));
  module.def("get_threads", &get_threads, "Number of threads that ops use.");
}

#ifdef DRML_CUDA
void bind_cuda(py::module_& module) {
  using Release = py::call_guard<py::gil_scoped_release>;
  module.def("cuda_device_count", [] { return cuda::device_count(); });
  module.def("cuda_why_unavailable", [] {
    std::string why;
    cuda::device_count(&why);
    return why;
  });
  py::class_<cuda::DeviceInfo>(module, "CudaDeviceInfo")
      .def_readonly("name", &cuda::DeviceInfo::name)
      .def_readonly("major", &cuda::DeviceInfo::major)
      .def_readonly("minor", &cuda::DeviceInfo::minor)
      .def_readonly("total_bytes", &cuda::DeviceInfo::total_bytes)
      .def_readonly("free_bytes", &cuda::DeviceInfo::free_bytes);
  module.def("cuda_device_info", &cuda::device_info, py::arg("index"), Release());
  module.def(
      "cuda_synchronize",
      [](const std::string& device) { cuda::synchronize(parse_device(device)); }, py::arg("device"),
      Release());
  module.def("cuda_set_tag", &cuda::set_tag, py::arg("tag"));
  module.def("cuda_fault_tag", &cuda::fault_tag);
  py::class_<cuda::Counters>(module, "CudaCounters")
      .def_readonly("launches", &cuda::Counters::launches)
      .def_readonly("allocations", &cuda::Counters::allocations)
      .def_readonly("synchronizations", &cuda::Counters::synchronizations);
  module.def("cuda_counters", &cuda::counters);
  py::class_<cuda::InputBuffer>(module, "CudaInputBuffer")
      .def(py::init([](Shape shape, bool channels_last, const std::string& device) {
             return std::make_unique<cuda::InputBuffer>(std::move(shape), channels_last,
                                                        parse_device(device));
           }),
           py::arg("shape"), py::arg("channels_last"), py::arg("device"))
      .def("host",
           [](const py::object& self) {
             auto& buffer = self.cast<cuda::InputBuffer&>();
             float* data = nullptr;
             {
               const py::gil_scoped_release release;
               data = buffer.host();
             }
             return array_over(buffer.staged(), data, self);
           })
      .def("start", &cuda::InputBuffer::start, Release())
      .def("take", &cuda::InputBuffer::take, py::arg("to"), Release());
  py::class_<cuda::Graph>(module, "CudaGraph")
      .def(py::init([](const std::string& device) {
             return std::make_unique<cuda::Graph>(parse_device(device));
           }),
           py::arg("device"))
      .def("begin", &cuda::Graph::begin, Release())
      .def("end", &cuda::Graph::end, Release())
      .def("abort", &cuda::Graph::abort, Release())
      .def("launch", &cuda::Graph::launch, Release());
}
#endif

}  // namespace

// DRML_MODULE is the name that the build gives the module.
PYBIND11_MODULE(DRML_MODULE, module) {
  using py::arg;
  module.doc() = "Compiled ops of drml.";
  bind_tensor(module);
  module.def("from_dlpack", &from_dlpack, arg("array"),
             "A tensor in the memory of a float32 array that has __dlpack__.");
  bind_attributes(module);
  bind_runtime(module);
#ifdef DRML_CUDA
  bind_cuda(module);
#endif

  DRML_BIND(copy, arg("x"), arg("y"));
  DRML_BIND(add, arg("x"), arg("y"));
  DRML_BIND(fill, arg("x"), arg("value"));
  DRML_BIND(axpby, arg("alpha"), arg("x"), arg("beta"), arg("y"));
  DRML_BIND(divide, arg("x"), arg("divisor"), arg("y"));
  DRML_BIND(sum_squares, arg("x"));
  DRML_BIND(sum_abs, arg("x"));
  DRML_BIND(all_finite, arg("x"));
  DRML_BIND(gather_forward, arg("x"), arg("index"), arg("y"));
  DRML_BIND(gather_backward, arg("dy"), arg("index"), arg("dx"));
  DRML_BIND(sgd_update, arg("weight"), arg("dweight"), arg("velocity"), arg("rate"),
            arg("momentum"), arg("decay"), arg("l1"));
  DRML_BIND(nesterov_update, arg("weight"), arg("dweight"), arg("velocity"), arg("rate"),
            arg("momentum"), arg("decay"), arg("l1"));
  DRML_BIND(adagrad_update, arg("weight"), arg("dweight"), arg("squares"), arg("rate"),
            arg("delta"), arg("decay"), arg("l1"));
  DRML_BIND(rmsprop_update, arg("weight"), arg("dweight"), arg("squares"), arg("rate"),
            arg("rms_decay"), arg("delta"), arg("decay"), arg("l1"));
  DRML_BIND(adadelta_update, arg("weight"), arg("dweight"), arg("squares"), arg("changes"),
            arg("rate"), arg("momentum"), arg("delta"), arg("decay"), arg("l1"));
  DRML_BIND(adam_update, arg("weight"), arg("dweight"), arg("mean"), arg("squares"), arg("rate"),
            arg("momentum"), arg("momentum2"), arg("delta"), arg("decay"), arg("l1"));

  DRML_BIND(convolution_forward, arg("x"), arg("weight"), arg("bias").none(true), arg("y"),
            arg("attrs"));
  DRML_BIND(convolution_backward, arg("x"), arg("weight"), arg("dy"), arg("dx").none(true),
            arg("dweight").none(true), arg("dbias").none(true), arg("attrs"));
  DRML_BIND(local_forward, arg("x"), arg("weight"), arg("bias").none(true), arg("y"), arg("attrs"));
  DRML_BIND(local_backward, arg("x"), arg("weight"), arg("dy"), arg("dx").none(true),
            arg("dweight").none(true), arg("dbias").none(true), arg("attrs"),
            arg("overwrite") = false);
  DRML_BIND(inner_product_forward, arg("x"), arg("weight"), arg("bias").none(true), arg("y"),
            arg("transpose"));
  DRML_BIND(inner_product_backward, arg("x"), arg("weight"), arg("dy"), arg("dx").none(true),
            arg("dweight").none(true), arg("dbias").none(true), arg("transpose"),
            arg("overwrite") = false);
  DRML_BIND(batch_norm_forward, arg("x"), arg("mean"), arg("variance"), arg("y"), arg("eps"),
            arg("frozen"));
  DRML_BIND(batch_norm_backward, arg("x"), arg("mean"), arg("variance"), arg("dy"), arg("dx"),
            arg("eps"), arg("frozen"));
  DRML_BIND(scale_forward, arg("x"), arg("scale").none(true), arg("bias").none(true), arg("y"),
            arg("axis"));
  DRML_BIND(scale_backward, arg("x"), arg("scale").none(true), arg("dy"), arg("dx").none(true),
            arg("dscale").none(true), arg("dbias").none(true), arg("axis"));
  DRML_BIND(prelu_forward, arg("x"), arg("slope"), arg("y"));
  DRML_BIND(prelu_backward, arg("x"), arg("slope"), arg("dy"), arg("dx").none(true),
            arg("dslope").none(true));
  DRML_BIND(pooling_forward, arg("x"), arg("y"), arg("attrs"));
  DRML_BIND(pooling_mask, arg("x"), arg("mask"), arg("attrs"));
  DRML_BIND(pooling_backward, arg("x"), arg("dy"), arg("dx"), arg("attrs"));
  DRML_BIND(region_forward, arg("x"), arg("weight"), arg("bias"), arg("mean"), arg("variance"),
            arg("y"), arg("attrs"));
  DRML_BIND(region_backward, arg("x"), arg("weight"), arg("mean"), arg("variance"), arg("dy"),
            arg("dx").none(true), arg("dweight").none(true), arg("dbias").none(true), arg("attrs"));

  DRML_BIND(relu_forward, arg("x"), arg("y"), arg("negative_slope"));
  DRML_BIND(relu_backward, arg("x"), arg("dy"), arg("dx"), arg("negative_slope"));
  DRML_BIND(sigmoid_forward, arg("x"), arg("y"));
  DRML_BIND(sigmoid_backward, arg("y"), arg("dy"), arg("dx"));
  DRML_BIND(neuron_forward, arg("x"), arg("y"), arg("attrs"));
  DRML_BIND(neuron_backward, arg("x"), arg("y"), arg("dy"), arg("dx"), arg("attrs"));
  DRML_BIND(dropout, arg("x"), arg("y"), arg("ratio"), arg("key"), arg("position"));
  DRML_BIND(eltwise_sum, arg("x"), arg("coeff"), arg("y"));
  DRML_BIND(eltwise_product_forward, arg("x"), arg("y"));
  DRML_BIND(eltwise_product_backward, arg("x"), arg("y").none(true), arg("dy"), arg("index"),
            arg("dx"));
  DRML_BIND(eltwise_max_forward, arg("x"), arg("y"));
  DRML_BIND(eltwise_max_backward, arg("x"), arg("dy"), arg("index"), arg("dx"));
  DRML_BIND(softmax_forward, arg("x"), arg("y"), arg("axis"));
  DRML_BIND(softmax_backward, arg("y"), arg("dy"), arg("dx"), arg("axis"));
  DRML_BIND(softmax_loss_forward, arg("prob"), arg("label"), arg("y"), arg("axis"), arg("attrs"));
  DRML_BIND(softmax_loss_backward, arg("prob"), arg("label"), arg("dy"), arg("dx"), arg("axis"),
            arg("attrs"));
  DRML_BIND(sigmoid_cross_entropy_loss_forward, arg("x"), arg("label"), arg("y"), arg("attrs"));
  DRML_BIND(sigmoid_cross_entropy_loss_backward, arg("x"), arg("label"), arg("dy"), arg("dx"),
            arg("attrs"));
  DRML_BIND(multi_sigmoid_cross_entropy_loss_forward, arg("x"), arg("label"),
            arg("weight").none(true), arg("y"));
  DRML_BIND(multi_sigmoid_cross_entropy_loss_backward, arg("x"), arg("label"),
            arg("weight").none(true), arg("dy"), arg("dx"));
  DRML_BIND(infogain_loss_forward, arg("prob"), arg("label"), arg("infogain"), arg("y"),
            arg("axis"), arg("attrs"));
  DRML_BIND(infogain_loss_backward, arg("prob"), arg("label"), arg("infogain"), arg("row_sums"),
            arg("dy"), arg("dx"), arg("axis"), arg("attrs"));
  DRML_BIND(hinge_loss_forward, arg("x"), arg("label"), arg("y"), arg("l2"));
  DRML_BIND(hinge_loss_backward, arg("x"), arg("label"), arg("dy"), arg("dx"), arg("l2"));
  DRML_BIND(multinomial_logistic_loss_forward, arg("prob"), arg("label"), arg("y"));
  DRML_BIND(multinomial_logistic_loss_backward, arg("prob"), arg("label"), arg("dy"), arg("dx"));
  DRML_BIND(euclidean_loss_forward, arg("x"), arg("label"), arg("y"));
  DRML_BIND(euclidean_loss_backward, arg("x"), arg("label"), arg("dy"), arg("dx").none(true),
            arg("dlabel").none(true));
  DRML_BIND(contrastive_loss_forward, arg("a"), arg("b"), arg("label"), arg("distance"), arg("y"),
            arg("margin"), arg("legacy"));
  DRML_BIND(contrastive_loss_backward, arg("a"), arg("b"), arg("label"), arg("distance"), arg("dy"),
            arg("da").none(true), arg("db").none(true), arg("margin"), arg("legacy"));
  DRML_BIND(accuracy_forward, arg("x"), arg("label"), arg("y"), arg("per_class").none(true),
            arg("top_k"), arg("axis"), arg("ignore_label"));
  DRML_BIND(lrn_forward, arg("x"), arg("y"), arg("attrs"));
  DRML_BIND(lrn_backward, arg("x"), arg("dy"), arg("dx"), arg("attrs"));
  DRML_BIND(reduction_forward, arg("x"), arg("y"), arg("axis"), arg("operation"), arg("coeff"));
  DRML_BIND(reduction_backward, arg("x"), arg("dy"), arg("dx"), arg("axis"), arg("operation"),
            arg("coeff"));
  DRML_BIND(mvn_forward, arg("x"), arg("y"), arg("deviation").none(true), arg("axis"), arg("eps"));
  DRML_BIND(mvn_backward, arg("y"), arg("dy"), arg("dx"), arg("deviation").none(true), arg("axis"));
}

}  // namespace drml
