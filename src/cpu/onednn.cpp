// What oneDNN computes: convolution and inner product.
//
// Maps are read and written where they lie, channels-last: on DRML's convolutions (AVX2, two
// threads, batch 16) oneDNN is as quick there as in the layouts that it would choose itself, 94 ms
// against 107 ms forward, and the maps need no reordering. Only weights, which are small, are put
// in oneDNN's order at each call. The one exception is the weight gradient of a convolution over
// three channels, see `prefers_planes`.
//
// A primitive costs much more to make than to look up, so each is kept, under all that it depends
// on: the op, its shapes and attributes, the number of threads.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "convolution_shape.h"
#include "cpu/few_rows.h"
#include "inner_product_shape.h"
#include "ops.h"

namespace drml {
namespace {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;
constexpr auto kFloat = dnnl::memory::data_type::f32;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// Lets oneDNN's errors out as std::runtime_error that names the op and its shapes.
template <typename F>
void guarded(const char* op, const Tensor& x, const Tensor& parameter, F f) {
  try {
    f();
  } catch (const dnnl::error& error) {
    throw std::runtime_error(std::string(op) + ": oneDNN: " + error.what() + " (shapes " +
                             to_string(x.shape()) + " and " + to_string(parameter.shape()) + ")");
  }
}

// Memory for one call of an op. Each thread keeps its block for the next call, because fresh pages
// cost as much as the work that is done in them.
class Scratch {
 public:
  explicit Scratch(size_t bytes) {
    if (bytes <= block().size) return;
    block() = {};
    block().memory.reset(static_cast<char*>(::operator new(bytes, kAlignment)));
    block().size = bytes;
  }

  void* take(size_t bytes) {
    char* piece = block().memory.get() + used_;
    used_ += rounded(bytes);
    return piece;
  }

  static size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(char* memory) const { ::operator delete(memory, kAlignment); }
  };
  struct Block {
    std::unique_ptr<char, Delete> memory;
    size_t size = 0;
  };
  static Block& block() {
    thread_local Block mine;
    return mine;
  }

  size_t used_ = 0;
};

enum class Role { input, output, added };  // an added output is += what the primitive computes

struct Argument {
  int id;  // DNNL_ARG_...
  Role role;
  Desc given;  // how the op's tensor lies in memory
};

dnnl::primitive_attr with_scratchpad(const dnnl::post_ops& post_ops = {}) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attr.set_post_ops(post_ops);
  return attr;
}

// A primitive, and the reorders between the op's tensors and the layouts that it wants.
class Plan {
 public:
  Plan(const dnnl::primitive_desc& desc, const std::vector<Argument>& arguments)
      : main_(add_step(desc)) {
    for (const Argument& argument : arguments) {
      const Desc wanted = desc.query_md(dnnl::query::exec_arg_md, argument.id);
      slots_.push_back({argument, wanted, Step()});
      if (argument.role == Role::added || argument.given != wanted) add_reorder(slots_.back());
    }
  }

  // `data` stands in the order of the arguments; null for an added output that nobody wants.
  void execute(const std::vector<float*>& data) const {
    Scratch scratch(bytes_);
    const dnnl::stream stream(engine());
    const auto run = [&](const Step& step, std::unordered_map<int, dnnl::memory> arguments) {
      const dnnl::memory scratchpad(step.scratchpad, engine(),
                                    scratch.take(step.scratchpad.get_size()));
      arguments.emplace(DNNL_ARG_SCRATCHPAD, scratchpad);
      step.primitive.execute(stream, arguments);
    };
    const auto outside = [&](size_t i) {
      return dnnl::memory(slots_[i].argument.given, engine(), data[i]);
    };
    std::unordered_map<int, dnnl::memory> inside;
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Slot& slot = slots_[i];
      void* at = slot.reorder.primitive ? scratch.take(slot.wanted.get_size()) : data[i];
      inside.emplace(slot.argument.id, dnnl::memory(slot.wanted, engine(), at));
      if (slot.reorder.primitive && slot.argument.role == Role::input) {
        run(slot.reorder,
            {{DNNL_ARG_FROM, outside(i)}, {DNNL_ARG_TO, inside.at(slot.argument.id)}});
      }
    }
    run(main_, inside);
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Slot& slot = slots_[i];
      if (!slot.reorder.primitive || slot.argument.role == Role::input) continue;
      if (data[i] == nullptr) continue;
      run(slot.reorder, {{DNNL_ARG_FROM, inside.at(slot.argument.id)}, {DNNL_ARG_TO, outside(i)}});
    }
  }

 private:
  struct Step {
    dnnl::primitive primitive;
    Desc scratchpad;
  };
  struct Slot {
    Argument argument;
    Desc wanted;
    Step reorder;  // none where the tensor lies as wanted
  };

  Step add_step(const dnnl::primitive_desc_base& desc) {
    const Desc scratchpad = desc.query_md(dnnl::query::exec_arg_md, DNNL_ARG_SCRATCHPAD);
    bytes_ += Scratch::rounded(scratchpad.get_size());
    return {dnnl::primitive(desc.get()), scratchpad};
  }

  void add_reorder(Slot& slot) {
    const Desc& given = slot.argument.given;
    bytes_ += Scratch::rounded(slot.wanted.get_size());
    if (slot.argument.role == Role::input) {
      slot.reorder = add_step(
          dnnl::reorder::primitive_desc(engine(), given, engine(), slot.wanted, with_scratchpad()));
      return;
    }
    dnnl::post_ops post_ops;
    if (slot.argument.role == Role::added) post_ops.append_sum();
    slot.reorder = add_step(dnnl::reorder::primitive_desc(engine(), slot.wanted, engine(), given,
                                                          with_scratchpad(post_ops)));
  }

  size_t bytes_ = 0;
  Step main_;
  std::vector<Slot> slots_;
};

enum class Op { convolution_forward, convolution_data, convolution_weights };

// The plan kept under `key`; `make` makes it when there is none.
template <typename Make>
std::shared_ptr<const Plan> find_plan(Op op, std::vector<Dims> key, Make make) {
  // More geometries than a process of some nets has at once.
  constexpr size_t kCapacity = 1024;
  static std::mutex mutex;
  static std::map<std::vector<Dims>, std::shared_ptr<const Plan>> plans;
  key.push_back({static_cast<int64_t>(op), omp_get_max_threads()});
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  auto plan = std::make_shared<const Plan>(make());
  if (plans.size() == kCapacity) plans.clear();
  plans.emplace(std::move(key), plan);
  return plan;
}

// Convolution ------------------------------------------------------------------------------------

// Shapes and steps in oneDNN's terms.
struct ConvolutionGeometry {
  Dims x, weight, y;
  Dims stride, pad, dilation;
  bool bias;

  std::vector<Dims> key() const {
    return {x, weight, y, stride, pad, dilation, {static_cast<int64_t>(bias)}};
  }
  Desc x_desc(Tag tag) const { return {x, kFloat, tag}; }
  Desc y_desc(Tag tag) const { return {y, kFloat, tag}; }
  Desc weight_desc(bool any) const {
    const Tag plain = weight.size() == 5 ? Tag::goihw : Tag::oihw;
    return {weight, kFloat, any ? Tag::any : plain};
  }
  Desc bias_desc() const { return bias ? Desc({y[1]}, kFloat, Tag::a) : Desc(); }
};

ConvolutionGeometry make_geometry(const char* op, const Tensor& x, const Tensor& weight,
                                  const Tensor* bias, const Tensor& y,
                                  const ConvolutionAttrs& attrs) {
  const ConvolutionShape s = make_convolution_shape(op, x, weight, bias, y, attrs);
  const Dims grouped{s.group, s.group_outputs(), weight.dim(1), s.kernel[0], s.kernel[1]};
  return {x.shape(),
          s.group == 1 ? weight.shape() : grouped,
          y.shape(),
          {s.stride[0], s.stride[1]},
          {s.pad[0], s.pad[1]},
          {s.dilation[0] - 1, s.dilation[1] - 1},
          bias != nullptr};
}

dnnl::convolution_forward::primitive_desc forward_desc(const ConvolutionGeometry& g, Tag tag) {
  return {engine(),
          dnnl::prop_kind::forward_training,
          dnnl::algorithm::convolution_direct,
          g.x_desc(tag),
          g.weight_desc(true),
          g.bias_desc(),
          g.y_desc(tag),
          g.stride,
          g.dilation,
          g.pad,
          g.pad,
          with_scratchpad()};
}

dnnl::primitive_desc data_desc(const ConvolutionGeometry& g, Tag tag) {
  return dnnl::convolution_backward_data::primitive_desc(
      engine(), dnnl::algorithm::convolution_direct, g.x_desc(tag), g.weight_desc(true),
      g.y_desc(tag), g.stride, g.dilation, g.pad, g.pad, forward_desc(g, tag), with_scratchpad());
}

dnnl::primitive_desc weights_desc(const ConvolutionGeometry& g, Tag tag) {
  return dnnl::convolution_backward_weights::primitive_desc(
      engine(), dnnl::algorithm::convolution_direct, g.x_desc(tag), g.weight_desc(true),
      g.bias_desc(), g.y_desc(tag), g.stride, g.dilation, g.pad, g.pad, forward_desc(g, tag),
      with_scratchpad());
}

// What `make` gives for channels-last maps; if that is oneDNN's plain reference loop, which is
// slower than any reorder, what it gives for layouts of oneDNN's own choice.
template <typename Make>
dnnl::primitive_desc quick_desc(Make make) {
  const auto is_reference = [](const dnnl::primitive_desc& desc) {
    return std::strncmp(desc.impl_info_str(), "ref", 3) == 0;
  };
  dnnl::primitive_desc desc = make(Tag::nhwc);
  if (!is_reference(desc)) return desc;
  dnnl::primitive_desc other = make(Tag::any);
  return is_reference(other) ? desc : other;
}

// Whether the weight gradient is quicker with x and dy reordered as oneDNN chooses. It has kernels
// for images of three planes: DRML's conv1 takes 77 ms by them, both reorders included, against
// 107 ms channels-last (AVX2, two threads, batch 16); with other strides there is nothing in it.
bool prefers_planes(const ConvolutionGeometry& g) {
  return g.x[1] == 3 && g.weight.size() == 4 && g.stride == Dims{1, 1};
}

// Images that such a gradient takes at a time, so that what is reordered stays small.
int64_t images_at_a_time(const ConvolutionGeometry& g) {
  if (!prefers_planes(g)) return g.x[0];
  constexpr int64_t kNumbers = int64_t{1} << 22;
  return std::min(g.x[0], std::max(int64_t{1}, kNumbers / (g.y[1] * g.y[2] * g.y[3])));
}

std::shared_ptr<const Plan> weights_plan(const ConvolutionGeometry& g) {
  return find_plan(Op::convolution_weights, g.key(), [&] {
    std::vector<Argument> arguments{{DNNL_ARG_SRC, Role::input, g.x_desc(Tag::nhwc)},
                                    {DNNL_ARG_DIFF_DST, Role::input, g.y_desc(Tag::nhwc)},
                                    {DNNL_ARG_DIFF_WEIGHTS, Role::added, g.weight_desc(false)}};
    if (g.bias) arguments.push_back({DNNL_ARG_DIFF_BIAS, Role::added, g.bias_desc()});
    if (prefers_planes(g)) return Plan(weights_desc(g, Tag::any), arguments);
    return Plan(quick_desc([&](Tag tag) { return weights_desc(g, tag); }), arguments);
  });
}

float* data_of(const Tensor* tensor) { return tensor == nullptr ? nullptr : tensor->data(); }

}  // namespace

void cpu::convolution_forward(const Tensor& x, const Tensor& weight, const Tensor* bias,
                              const Tensor& y, const ConvolutionAttrs& attrs) {
  const char* op = "convolution_forward";
  const ConvolutionGeometry g = make_geometry(op, x, weight, bias, y, attrs);
  if (x.size() == 0) return;
  guarded(op, x, weight, [&] {
    const auto plan = find_plan(Op::convolution_forward, g.key(), [&] {
      std::vector<Argument> arguments{{DNNL_ARG_SRC, Role::input, g.x_desc(Tag::nhwc)},
                                      {DNNL_ARG_WEIGHTS, Role::input, g.weight_desc(false)},
                                      {DNNL_ARG_DST, Role::output, g.y_desc(Tag::nhwc)}};
      if (g.bias) arguments.push_back({DNNL_ARG_BIAS, Role::input, g.bias_desc()});
      return Plan(quick_desc([&](Tag tag) -> dnnl::primitive_desc { return forward_desc(g, tag); }),
                  arguments);
    });
    plan->execute({x.data(), weight.data(), y.data(), data_of(bias)});
  });
}

void cpu::convolution_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                               const Tensor* dx, const Tensor* dweight, const Tensor* dbias,
                               const ConvolutionAttrs& attrs) {
  const char* op = "convolution_backward";
  ConvolutionGeometry g = make_geometry(op, x, weight, dbias, dy, attrs);
  check_window_gradients(op, x, weight, dx, dweight);
  if (x.size() == 0) return;
  guarded(op, x, weight, [&] {
    if (dx != nullptr) {
      const auto plan = find_plan(Op::convolution_data, g.key(), [&] {
        return Plan(quick_desc([&](Tag tag) { return data_desc(g, tag); }),
                    {{DNNL_ARG_DIFF_DST, Role::input, g.y_desc(Tag::nhwc)},
                     {DNNL_ARG_WEIGHTS, Role::input, g.weight_desc(false)},
                     {DNNL_ARG_DIFF_SRC, Role::output, g.x_desc(Tag::nhwc)}});
      });
      plan->execute({dy.data(), weight.data(), dx->data()});
    }
    if (dweight == nullptr && dbias == nullptr) return;
    const int64_t images = images_at_a_time(g);
    for (int64_t first = 0; first < x.dim(0); first += images) {
      g.x[0] = g.y[0] = std::min(images, x.dim(0) - first);
      weights_plan(g)->execute({x.data() + first * x.stride(0), dy.data() + first * dy.stride(0),
                                data_of(dweight), data_of(dbias)});
    }
  });
}

// Inner product ----------------------------------------------------------------------------------
//
// The matrices are multiplied by dnnl_sgemm, because it takes them as they lie, transposed or not,
// and adds to what is there: DRML's fc8 has 190 MB of weights, which are never copied. Measured on
// fc8 (D 11664, K 4096; AVX2, two threads) for M rows, in ms, forward / dx / dweight:
//     M       1                 16                   64                   128
//     sgemm   7.5 / 6.4 / 15.2  19.5 / 16.1 / 17.5   42.5 / 34.1 / 39.9   107 / 98 / 83
//     matmul  7.7 / 7.3 / 27.3  19.1 / 15.5 / 27.9   43.7 / 34.2 / 50.4   110 / 102 / 99
// oneDNN's inner-product primitive takes as long as sgemm, but cannot add to dweight. Few rows of a
// large matrix are multiplied by few_rows.cpp instead, forward and for dx.

namespace {

// x itself if it is row-major, else new memory of its shape that is.
Tensor row_major_like(const Tensor& x) { return x.is_row_major() ? x : Tensor(x.shape(), false); }

Tensor row_major_copy(const Tensor& x) {
  Tensor copy = row_major_like(x);
  if (!x.is_row_major()) cpu::copy(x, copy);
  return copy;
}

// A row-major matrix, or its transpose.
struct Matrix {
  const float* data;
  int64_t row_length;
  bool transposed;
};

// c (m, n) = a (m, k) * b (k, n) + beta * c.
void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float beta,
              float* c) {
  dnnl::error::wrap_c_api(dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k,
                                     1.0f, a.data, a.row_length, b.data, b.row_length, beta, c, n),
                          "could not multiply two matrices");
}

// sum += the sum of the rows.
void add_rows(const float* rows, int64_t count, int64_t length, float* sum) {
  constexpr int64_t kBlock = 256;
#pragma omp parallel for schedule(static) if (count * length > kBlock * kBlock)
  for (int64_t first = 0; first < length; first += kBlock) {
    const int64_t end = std::min(length, first + kBlock);
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = first; i < end; ++i) sum[i] += rows[row * length + i];
    }
  }
}

}  // namespace

void cpu::inner_product_forward(const Tensor& x, const Tensor& weight, const Tensor* bias,
                                const Tensor& y, bool transpose) {
  const char* op = "inner_product_forward";
  const auto [rows, inputs, outputs] = make_inner_product_shape(op, x, weight, bias, y, transpose);
  const Tensor x_rows = row_major_copy(x);
  const Tensor y_rows = row_major_like(y);
  if (!transpose && are_few_rows(rows, inputs, outputs)) {
    multiply_few_rows(rows, inputs, outputs, x_rows.data(), weight.data(), data_of(bias),
                      y_rows.data());
  } else {
    if (bias != nullptr) {
      for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(bias->data(), outputs, y_rows.data() + row * outputs);
      }
    }
    guarded(op, x, weight, [&, rows = rows, inputs = inputs, outputs = outputs] {
      multiply(rows, outputs, inputs, {x_rows.data(), inputs, false},
               {weight.data(), weight.dim(1), !transpose}, bias == nullptr ? 0.0f : 1.0f,
               y_rows.data());
    });
  }
  if (!y.is_row_major()) cpu::copy(y_rows, y);
}

void cpu::inner_product_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                 const Tensor* dx, const Tensor* dweight, const Tensor* dbias,
                                 bool transpose, bool overwrite) {
  const char* op = "inner_product_backward";
  const auto [rows, inputs, outputs] =
      make_inner_product_shape(op, x, weight, dbias, dy, transpose);
  check_inner_product_gradients(op, x, weight, dx, dweight);
  if (rows == 0) {
    if (overwrite && dweight != nullptr) fill(*dweight, 0);
    return;
  }
  const Tensor dy_rows = row_major_copy(dy);
  guarded(op, x, weight, [&, rows = rows, inputs = inputs, outputs = outputs] {
    if (dx != nullptr) {
      const Tensor dx_rows = row_major_like(*dx);
      if (!transpose && are_few_gradients(rows, inputs, outputs)) {
        few_rows_data_gradient(rows, inputs, outputs, dy_rows.data(), weight.data(),
                               dx_rows.data());
      } else {
        multiply(rows, inputs, outputs, {dy_rows.data(), outputs, false},
                 {weight.data(), weight.dim(1), transpose}, 0.0f, dx_rows.data());
      }
      if (!dx->is_row_major()) cpu::copy(dx_rows, *dx);
    }
    if (dweight != nullptr) {
      const Tensor x_rows = row_major_copy(x);
      const Matrix x_matrix{x_rows.data(), inputs, transpose};
      const Matrix dy_matrix{dy_rows.data(), outputs, !transpose};
      const float beta = overwrite ? 0.0f : 1.0f;
      if (transpose) {
        multiply(inputs, outputs, rows, x_matrix, dy_matrix, beta, dweight->data());
      } else {
        multiply(outputs, inputs, rows, dy_matrix, x_matrix, beta, dweight->data());
      }
    }
    if (dbias != nullptr) add_rows(dy_rows.data(), rows, outputs, dbias->data());
  });
}

}  // namespace drml
