// Times oneDNN's own forward primitives, each in the memory layouts that oneDNN itself chooses.
//
// Reads from standard input lines such as
//   conv NAME groups batch in_channels height width out_channels kernel_h kernel_w stride pad
//   ip NAME batch inputs outputs
// and prints `NAME milliseconds implementation` for each: the least of the repeats. Layouts are
// left to the library (format_tag::any) and reorders are not counted, so this is what a program
// could at best reach with this library on this machine. Usage: onednn_times REPEATS < lines
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <oneapi/dnnl/dnnl.hpp>
#include <sstream>
#include <string>
#include <unordered_map>

using dnnl::memory;
using Dims = memory::dims;

namespace {

memory make_memory(const memory::desc& desc, const dnnl::engine& engine) {
  memory result(desc, engine);
  auto* data = static_cast<float*>(result.get_data_handle());
  const size_t count = desc.get_size() / sizeof(float);
  for (size_t i = 0; i < count; ++i) data[i] = static_cast<float>(i % 7) * 0.1f - 0.3f;
  return result;
}

template <typename PrimitiveDesc>
double least_time(const PrimitiveDesc& desc, const dnnl::primitive& primitive,
                  const dnnl::engine& engine, int repeats) {
  dnnl::stream stream(engine);
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, make_memory(desc.src_desc(), engine)},
      {DNNL_ARG_WEIGHTS, make_memory(desc.weights_desc(), engine)},
      {DNNL_ARG_BIAS, make_memory(desc.bias_desc(), engine)},
      {DNNL_ARG_DST, make_memory(desc.dst_desc(), engine)}};
  double least = 1e30;
  for (int repeat = 0; repeat <= repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    primitive.execute(stream, arguments);
    stream.wait();
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    if (repeat > 0 && taken.count() < least) least = taken.count();
  }
  return least;
}

memory::desc any(const Dims& dims) {
  return memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
}

}  // namespace

int main(int argc, char** argv) {
  const int repeats = argc > 1 ? std::atoi(argv[1]) : 10;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const auto inference = dnnl::prop_kind::forward_inference;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string kind;
    std::string name;
    words >> kind >> name;
    double least = 0;
    std::string implementation;
    if (kind == "conv") {
      long groups, n, c, h, w, k, kh, kw, stride, pad;
      words >> groups >> n >> c >> h >> w >> k >> kh >> kw >> stride >> pad;
      const Dims weights =
          groups > 1 ? Dims{groups, k / groups, c / groups, kh, kw} : Dims{k, c, kh, kw};
      const Dims dst = {n, k, (h + 2 * pad - kh) / stride + 1, (w + 2 * pad - kw) / stride + 1};
      const dnnl::convolution_forward::primitive_desc desc(
          engine, inference, dnnl::algorithm::convolution_direct, any({n, c, h, w}), any(weights),
          any({k}), any(dst), {stride, stride}, {pad, pad}, {pad, pad});
      least = least_time(desc, dnnl::convolution_forward(desc), engine, repeats);
      implementation = desc.impl_info_str();
    } else if (kind == "ip") {
      long n, inputs, outputs;
      words >> n >> inputs >> outputs;
      const dnnl::inner_product_forward::primitive_desc desc(engine, inference, any({n, inputs}),
                                                             any({outputs, inputs}), any({outputs}),
                                                             any({n, outputs}));
      least = least_time(desc, dnnl::inner_product_forward(desc), engine, repeats);
      implementation = desc.impl_info_str();
    } else {
      std::cerr << "onednn_times: unknown kind '" << kind << "'\n";
      return 2;
    }
    std::cout << name << ' ' << least << ' ' << implementation << std::endl;
  }
  return 0;
}
