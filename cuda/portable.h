// What every kernel includes: the two constructs that nvcc, NVRTC and g++ (against the emulator)
// spell differently, and the loop of element-wise kernels. DRML_KERNELS_ONLY is defined where a
// file of kernels is compiled by itself (compile_*.py): it then says which of its templates are
// used.
#pragma once

#ifndef __CUDACC_RTC__
#include <cuda_runtime.h>
#include <stdint.h>
#endif

#ifdef DRML_CUDA_EMULATOR
#define DRML_KERNEL_CALL(kernel, grid, block, shared, stream) \
  ::drml_emulator::launcher(kernel, grid, block, shared, stream)
#define DRML_DYNAMIC_SHARED(T, name) T* name = ::drml_emulator::dynamic_shared<T>()
#else
#define DRML_KERNEL_CALL(kernel, grid, block, shared, stream) \
  kernel<<<grid, block, shared, stream>>>
// One array per kernel, whatever its type: declarations of one name must agree.
#define DRML_DYNAMIC_SHARED(T, name)                                  \
  extern __shared__ __align__(16) unsigned char drml_shared_memory[]; \
  T* name = reinterpret_cast<T*>(drml_shared_memory)
#endif

// All threads of a one-dimensional launch share out 0 <= i < n.
#define DRML_GRID_LOOP(i, n)                                                             \
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < (n); \
       i += static_cast<int64_t>(gridDim.x) * blockDim.x)
