#include "runtime.h"

#include <omp.h>

#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "check.h"
#include "cpu/simd.h"

namespace drml {
namespace {

Isa detect_isa() {
  Isa best = Isa::portable;
#ifdef DRML_HAS_avx512
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = Isa::avx2;
  if (best == Isa::avx2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw")) {
    best = Isa::avx512;
  }
#endif
  const char* limit = std::getenv("DRML_MAX_ISA");
  if (limit == nullptr) return best;
  if (std::string(limit) == "portable") return Isa::portable;
  if (std::string(limit) == "avx2" && best == Isa::avx512) return Isa::avx2;
  return best;
}

}  // namespace

Isa best_isa() {
  static const Isa isa = detect_isa();
  return isa;
}

void set_threads(int count) {
  DRML_CHECK(count > 0, "number of threads must be positive, got ", count);
  omp_set_num_threads(count);
}

int get_threads() { return omp_get_max_threads(); }

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

std::string onednn_isa() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      return "SSE4.1";
    case dnnl::cpu_isa::avx:
      return "AVX";
    case dnnl::cpu_isa::avx2:
      return "AVX2";
    case dnnl::cpu_isa::avx2_vnni:
      return "AVX2-VNNI";
    case dnnl::cpu_isa::avx2_vnni_2:
      return "AVX2-VNNI-2";
    case dnnl::cpu_isa::avx512_core:
      return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX-512-VNNI";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX-512-BF16";
    case dnnl::cpu_isa::avx512_core_fp16:
      return "AVX-512-FP16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "AVX-512-AMX";
    case dnnl::cpu_isa::avx512_core_amx_fp16:
      return "AVX-512-AMX-FP16";
    default:
      return "generic";
  }
}

std::string kernel_isa() {
  switch (best_isa()) {
    case Isa::avx512:
      return "AVX-512";
    case Isa::avx2:
      return "AVX2";
    default:
      return "portable";
  }
}

}  // namespace drml
