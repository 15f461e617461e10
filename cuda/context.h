// What ops launch kernels with: a device's stream, scratch memory, cuBLAS handle and error checks.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/portable.h"
#include "tensor.h"

namespace drml::cuda {

constexpr int kBlock = 256;

// Blocks for a DRML_GRID_LOOP over n: a function of n alone, so that results repeat on any device.
inline int blocks_for(int64_t n, int block = kBlock) {
  return static_cast<int>(std::clamp<int64_t>((n + block - 1) / block, 1, 1 << 16));
}

class Context {
 public:
  // The context of a device that a Guard has made current.
  static Context& of(const Device& device);
  static Context& of(const Tensor& x) { return of(x.device()); }

  cudaStream_t stream() const { return stream_; }
  cudaStream_t copy_stream();
  cublasHandle_t blas();

  // Device memory for the op that asks, 256-byte aligned, not cleared, one piece per call of an op:
  // the next op may get the same. Grows when needed and never shrinks.
  char* scratch(int64_t bytes);

  // A slot for report_fault (fault.cuh). `describe` words the error from the index and the value
  // that a kernel reports; the next read from the device raises it.
  using Describe = std::function<std::string(int64_t index, float value)>;
  uint64_t* fault(Describe describe);

  // Copies from the device and waits for it.
  void read(const void* from, int64_t bytes, void* to);
  void synchronize();
  void raise_faults();  // waits for the device if an op could have reported one

  // Throw std::runtime_error that names the call and the device.
  void check(cudaError_t status, const char* call) const;
  void check(cublasStatus_t status, const char* call) const;
  void check_launch(const char* kernel, dim3 grid, dim3 block, size_t shared);

  void before_capture();
  void after_capture();
  // A graph runs, whose kernels report into the slots that they were recorded with.
  void expect_faults() { faults_were_read_ = faults_.empty(); }

 private:
  friend class Guard;

  explicit Context(int index);

  struct Fault {
    Describe describe;
    int64_t tag;
  };

  int index_;
  bool synchronous_;  // DRML_SYNC=1: every launch is waited for
  bool capturing_ = false;
  std::recursive_mutex mutex_;
  cudaStream_t stream_ = nullptr;
  cudaStream_t copy_stream_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  char* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
  uint64_t* fault_slots_ = nullptr;
  std::vector<Fault> faults_;
  bool faults_were_read_ = true;
};

}  // namespace drml::cuda

// Launches a kernel on the context's stream; a template kernel stands in parentheses.
#define DRML_LAUNCH(context, kernel, grid, block, shared, ...)                             \
  do {                                                                                     \
    DRML_KERNEL_CALL(kernel, grid, block, shared, (context).stream())(__VA_ARGS__);        \
    (context).check_launch(#kernel, dim3(grid), dim3(block), static_cast<size_t>(shared)); \
  } while (false)
