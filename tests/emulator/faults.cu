// Kernels with one bug each, to see that it is reported: faults NAME.
#include <cstring>

#include "testing.h"

namespace {

constexpr int kThreads = 64;

__global__ void missing_barrier(float* x) {
  __shared__ float shared[kThreads];
  shared[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

__global__ void missing_warp_barrier(float* x) {
  __shared__ float shared[kThreads];
  shared[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = shared[threadIdx.x ^ 1];
}

__global__ void plain_update(float* x) {
  if (threadIdx.x == 0) x[0] += 1;
}

__global__ void global_bound(float* x) { x[threadIdx.x + 1] = 1; }

template <int kSize>
__global__ void shared_bound(float* x) {
  __shared__ float shared[kSize];
  float* last = shared + threadIdx.x + 1;
  *last = 1;
  __syncthreads();
  x[threadIdx.x] = shared[threadIdx.x];
}

__global__ void dynamic_bound(float* x) {
  DRML_DYNAMIC_SHARED(float, shared);
  shared[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = shared[threadIdx.x];
}

__global__ void copy(const float* from, float* to) { to[threadIdx.x] = from[threadIdx.x]; }

__global__ void divergent_barrier(float* x) {
  if (threadIdx.x < 32) {
    __syncthreads();
    x[threadIdx.x] = 1;
  } else {
    x[threadIdx.x] = 2;
    __syncthreads();
  }
}

__global__ void early_return(float* x) {
  if (threadIdx.x == 5) return;
  __syncthreads();
  x[threadIdx.x] = 1;
}

__global__ void foreign_mask(float* x) {
  x[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, x[threadIdx.x], 1);
}

__global__ void absent_lane(float* x) {
  if (threadIdx.x % 32 < 16) {
    x[threadIdx.x] = __shfl_down_sync(0x0000ffffu, x[threadIdx.x], 8);
  }
}

__global__ void incomplete_mask(float* x) {
  if (threadIdx.x % 32 < 16) {
    x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
  }
  __syncthreads();
}

}  // namespace

int main(int, char** arguments) {
  const char* name = arguments[1];
  const auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  const std::vector<float> zeros(kThreads);
  const Array<float> x(zeros);
  const auto run = [&](auto kernel, int blocks, size_t shared_bytes) {
    DRML_KERNEL_CALL(kernel, blocks, kThreads, shared_bytes, nullptr)(x);
  };
  if (is("missing_barrier")) run(missing_barrier, 1, 0);
  if (is("missing_warp_barrier")) run(missing_warp_barrier, 1, 0);
  if (is("plain_update")) run(plain_update, 4, 0);
  if (is("global_bound")) run(global_bound, 1, 0);
  if (is("shared_bound")) run(shared_bound<kThreads>, 1, 0);
  if (is("dynamic_bound")) run(dynamic_bound, 1, (kThreads - 1) * sizeof(float));
  if (is("divergent_barrier")) run(divergent_barrier, 1, 0);
  if (is("early_return")) run(early_return, 1, 0);
  if (is("foreign_mask")) run(foreign_mask, 1, 0);
  if (is("absent_lane")) run(absent_lane, 1, 0);
  if (is("incomplete_mask")) run(incomplete_mask, 1, 0);
  if (is("host_access")) x[0] = 1;
  if (is("freed_memory")) {
    float* freed = nullptr;
    cudaMalloc(&freed, kThreads * sizeof(float));
    cudaFree(freed);
    DRML_KERNEL_CALL(copy, 1, kThreads, 0, nullptr)(freed, x);
  }
  if (is("other_device")) {
    cudaSetDevice(1);
    const Array<float> there(kThreads);
    DRML_KERNEL_CALL(copy, 1, kThreads, 0, nullptr)(x, there);
  }
  if (is("unset_memory")) {
    const Array<float> unset(kThreads);
    DRML_KERNEL_CALL(copy, 1, kThreads, 0, nullptr)(unset, x);
  }
  std::printf("%s: x[1] = %g\n", name, x.get()[1]);
}
