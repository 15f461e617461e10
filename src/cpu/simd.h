// Vectors of the instruction set that a *_kernel.cpp is being compiled for, and the choice between
// instruction sets at run time.
//
// Each *_kernel.cpp is compiled once per set in DRML_ISA: `portable` (SSE2 on x86-64, NEON on
// aarch64, as the compiler's generic vectors), `avx2` and `avx512`. Such a file must not use inline
// functions or templates of the standard library: the linker keeps one copy of each, and it could
// be the one that needs AVX-512.
#pragma once

#include <cstdint>

namespace drml {

enum class Isa { portable, avx2, avx512 };

// The best instruction set that this machine and this build share; DRML_MAX_ISA=portable or avx2
// in the environment lowers it.
Isa best_isa();

}  // namespace drml

#ifdef DRML_ISA
namespace drml::DRML_ISA {

#if defined(DRML_ISA_avx512)
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#elif defined(DRML_ISA_avx2)
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#else
constexpr int kLanes = 4;
constexpr int kRegisters = 16;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedVec __attribute__((vector_size(4 * kLanes), aligned(4)));

inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
// v - 0 is v for every v, so the compiler leaves only the broadcast; v + 0 is not (-0).
inline Vec broadcast(float v) { return v - Vec{}; }

// One way to write what is done to vectors and, where they do not fit any more, to single numbers.
inline void load_to(const float* p, Vec& v) { v = load(p); }
inline void load_to(const float* p, float& v) { v = *p; }
inline void store_at(float* p, Vec v) { store(p, v); }
inline void store_at(float* p, float v) { *p = v; }

// Calls f with an offset and a number type for `count` numbers: vectors first, then one by one.
template <typename F>
inline void for_numbers(int64_t count, F f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, Vec{});
  for (; i < count; ++i) f(i, 0.0f);
}

}  // namespace drml::DRML_ISA
#endif
