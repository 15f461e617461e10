// What CUDA adds to C++ for kernels.
#pragma once

#include <math.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "fibers.h"
#include "sanitizers.h"

#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)

#ifdef DRML_EMULATOR_ASAN
// AddressSanitizer guards the variables of one translation unit, and of those only plain statics:
// neither thread_local ones nor those of a template that the linker may merge.
#define __global__ static
#define __shared__ static
#else
#define __global__
#define __shared__ static thread_local
#endif

#define threadIdx (::drml_emulator::position.thread)
#define blockIdx (::drml_emulator::position.block)
#define blockDim (::drml_emulator::position.block_size)
#define gridDim (::drml_emulator::position.grid_size)
constexpr int warpSize = 32;

using std::max;
using std::min;

// Barriers are told apart by their line: a return address would not do, for compilers copy calls.
DRML_EMULATOR_SWITCHES_STACKS inline void __syncthreads(int line = __builtin_LINE()) {
  ::drml_emulator::block_barrier(line);
}
DRML_EMULATOR_SWITCHES_STACKS inline void __syncwarp(unsigned int mask = 0xffffffffu) {
  ::drml_emulator::warp_barrier(mask);
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Shuffles and votes ------------------------------------------------------------------------------

namespace drml_emulator {

inline int lane() { return static_cast<int>(position.linear % warpSize); }

template <typename T>
T read_lane_as(unsigned int mask, T value, int source) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "shuffles move up to eight bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = read_lane(mask, bits, static_cast<unsigned int>(source));
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace drml_emulator

// `width` lanes at a time form a segment; a lane whose source lies beyond it reads itself.
template <typename T>
T __shfl_sync(unsigned int mask, T value, int source, int width = warpSize) {
  const int first = ::drml_emulator::lane() & ~(width - 1);
  return ::drml_emulator::read_lane_as(mask, value, first + (source & (width - 1)));
}

template <typename T>
T __shfl_up_sync(unsigned int mask, T value, unsigned int delta, int width = warpSize) {
  const int lane = ::drml_emulator::lane();
  const int source = lane - static_cast<int>(delta);
  return ::drml_emulator::read_lane_as(mask, value,
                                       source >= (lane & ~(width - 1)) ? source : lane);
}

template <typename T>
T __shfl_down_sync(unsigned int mask, T value, unsigned int delta, int width = warpSize) {
  const int lane = ::drml_emulator::lane();
  const int source = lane + static_cast<int>(delta);
  return ::drml_emulator::read_lane_as(mask, value,
                                       source < (lane & ~(width - 1)) + width ? source : lane);
}

template <typename T>
T __shfl_xor_sync(unsigned int mask, T value, int lane_mask, int width = warpSize) {
  const int lane = ::drml_emulator::lane();
  const int source = lane ^ lane_mask;
  return ::drml_emulator::read_lane_as(mask, value,
                                       source < (lane & ~(width - 1)) + width ? source : lane);
}

inline unsigned int __ballot_sync(unsigned int mask, int predicate) {
  return ::drml_emulator::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned int mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __all_sync(unsigned int mask, int predicate) {
  return __ballot_sync(mask, !predicate) == 0;
}

// Atomic functions --------------------------------------------------------------------------------

namespace drml_emulator {

template <typename T, typename Change>
T update(T* address, Change change) {
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  for (;;) {
    T changed = change(old);
    if (__atomic_compare_exchange(address, &old, &changed, false, __ATOMIC_RELAXED,
                                  __ATOMIC_RELAXED)) {
      return old;
    }
  }
}

// Keeps a parameter out of the deduction of T, so that its argument is converted.
template <typename T>
using Value = std::common_type_t<T>;

}  // namespace drml_emulator

template <typename T>
T atomicAdd(T* address, drml_emulator::Value<T> value) {
  return drml_emulator::update(address, [=](T old) { return static_cast<T>(old + value); });
}
template <typename T>
T atomicMin(T* address, drml_emulator::Value<T> value) {
  return drml_emulator::update(address, [=](T old) { return std::min(old, value); });
}
template <typename T>
T atomicMax(T* address, drml_emulator::Value<T> value) {
  return drml_emulator::update(address, [=](T old) { return std::max(old, value); });
}
template <typename T>
T atomicExch(T* address, drml_emulator::Value<T> value) {
  return drml_emulator::update(address, [=](T) { return value; });
}
template <typename T>
T atomicCAS(T* address, drml_emulator::Value<T> expected, drml_emulator::Value<T> value) {
  return drml_emulator::update(address, [=](T old) { return old == expected ? value : old; });
}

// Arithmetic
// ---------------------------------------------------------------------------------------

template <typename T>
T __ldg(const T* address) {
  return *address;
}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float __uint_as_float(unsigned int bits) { return __int_as_float(static_cast<int>(bits)); }
inline unsigned int __float_as_uint(float value) {
  return static_cast<unsigned int>(__float_as_int(value));
}
inline int __popc(unsigned int bits) { return __builtin_popcount(bits); }
