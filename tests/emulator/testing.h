// What the test programs of the emulator share.
#pragma once

#include <cmath>
#include <cstdio>
#include <vector>

#include "cuda/portable.h"

// Says what was expected, and makes the program end with status 1.
#define EXPECT(condition)                                                 \
  do {                                                                    \
    if (!(condition)) {                                                   \
      std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      failed = true;                                                      \
    }                                                                     \
  } while (false)

#define EXPECT_STATUS(expected, call)                                                   \
  do {                                                                                  \
    const cudaError_t got = call;                                                       \
    if (got != (expected)) {                                                            \
      std::printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(got)); \
      failed = true;                                                                    \
    }                                                                                   \
  } while (false)

inline bool failed = false;

// An array on the device.
template <typename T>
class Array {
 public:
  explicit Array(size_t size) : size_(size) {
    EXPECT_STATUS(cudaSuccess, cudaMalloc(&data_, size * sizeof(T)));
  }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    EXPECT_STATUS(cudaSuccess,
                  cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  operator T*() const { return data_; }

  std::vector<T> get() const {
    std::vector<T> values(size_);
    EXPECT_STATUS(cudaSuccess,
                  cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};
