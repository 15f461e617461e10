#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <utility>

#include "cublas_v2.h"
#include "device_memory.h"
#include "devices.h"
#include "streams.h"

struct cublasContext {
  int device;
  cudaStream_t stream = nullptr;
};

namespace {

using drml_emulator::RangeOpen;

// Columns of `rows` numbers, the first numbers of two columns `ld` apart; one matrix or a batch.
template <typename T>
struct Matrices {
  T* data;
  int64_t rows;
  int64_t columns;
  int64_t ld;
  int64_t stride;

  int64_t size(int64_t count) const {  // from the first number to the last
    if (rows == 0 || columns == 0) return 0;
    return (count - 1) * stride + (columns - 1) * ld + rows;
  }
  bool is_valid() const { return ld >= std::max<int64_t>(rows, 1); }
};

struct Product {
  char a_operation;
  char b_operation;
  Matrices<const float> a;
  Matrices<const float> b;
  Matrices<float> c;
  int64_t k;
  float alpha;
  float beta;
};

size_t bytes_of(int64_t numbers) { return static_cast<size_t>(numbers) * sizeof(float); }

// Of a vector whose numbers are `step` apart, from the first to the last.
int64_t vector_size(int64_t length, int64_t step) {
  return length == 0 ? 0 : (length - 1) * std::abs(step) + 1;
}

bool is_operation(cublasOperation_t operation) {
  return operation == CUBLAS_OP_N || operation == CUBLAS_OP_T || operation == CUBLAS_OP_C;
}

bool is_on_device(const cublasContext& context, const void* memory, int64_t numbers) {
  return numbers == 0 || drml_emulator::device_of(memory, bytes_of(numbers)) == context.device;
}

// What oneDNN sees row by row are the transposes: c' = op(b)' * op(a)'.
void multiply(const Product& product, int64_t number) {
  const auto& [a_operation, b_operation, a, b, c, k, alpha, beta] = product;
  float* result = c.data + number * c.stride;
  if (k == 0) {
    for (int64_t column = 0; column < c.columns; ++column) {
      for (int64_t row = 0; row < c.rows; ++row) {
        float& value = result[column * c.ld + row];
        value = beta == 0 ? 0 : beta * value;
      }
    }
    return;
  }
  const dnnl_status_t status =
      dnnl_sgemm(b_operation, a_operation, c.columns, c.rows, k, alpha, b.data + number * b.stride,
                 b.ld, a.data + number * a.stride, a.ld, beta, result, c.ld);
  if (status != dnnl_success) drml_emulator::die("dnnl_sgemm failed with status %d", status);
}

cublasStatus_t submit(const cublasContext& context, std::function<void()> operation) {
  const cudaError_t status = drml_emulator::submit(context.stream, std::move(operation));
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown cuBLAS status";
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int* version) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  if (drml_emulator::before_unsafe_call() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!drml_emulator::devices_run_kernels()) return CUBLAS_STATUS_ARCH_MISMATCH;
  *handle = new cublasContext{drml_emulator::current_device()};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

// The products need none, but cuBLAS would use it.
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, size_t bytes) {
  constexpr uintptr_t kAlignment = 256;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool aligned = reinterpret_cast<uintptr_t>(workspace) % kAlignment == 0;
  const bool on_device = drml_emulator::device_of(workspace, bytes) == handle->device;
  return aligned && (on_device || bytes == 0) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t /*mode*/) {
  return handle == nullptr ? CUBLAS_STATUS_NOT_INITIALIZED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t a_operation,
                           cublasOperation_t b_operation, int m, int n, int k, const float* alpha,
                           const float* a, int lda, const float* b, int ldb, const float* beta,
                           float* c, int ldc) {
  return cublasSgemmStridedBatched(handle, a_operation, b_operation, m, n, k, alpha, a, lda, 0, b,
                                   ldb, 0, beta, c, ldc, 0, 1);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t a_operation,
                                         cublasOperation_t b_operation, int m, int n, int k,
                                         const float* alpha, const float* a, int lda,
                                         long long a_stride, const float* b, int ldb,
                                         long long b_stride, const float* beta, float* c, int ldc,
                                         long long c_stride, int count) {
  const auto lock = drml_emulator::lock_devices();
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (m < 0 || n < 0 || k < 0 || count < 0 || alpha == nullptr || beta == nullptr ||
      !is_operation(a_operation) || !is_operation(b_operation)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool a_plain = a_operation == CUBLAS_OP_N;
  const bool b_plain = b_operation == CUBLAS_OP_N;
  const Product product{a_plain ? 'N' : 'T',
                        b_plain ? 'N' : 'T',
                        {a, a_plain ? m : k, a_plain ? k : m, lda, a_stride},
                        {b, b_plain ? k : n, b_plain ? n : k, ldb, b_stride},
                        {c, m, n, ldc, c_stride},
                        k,
                        *alpha,
                        *beta};
  if (!product.a.is_valid() || !product.b.is_valid() || !product.c.is_valid()) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (m == 0 || n == 0 || count == 0) return CUBLAS_STATUS_SUCCESS;
  const int64_t a_size = product.a.size(count);
  const int64_t b_size = product.b.size(count);
  const int64_t c_size = product.c.size(count);
  if (!is_on_device(*handle, a, a_size) || !is_on_device(*handle, b, b_size) ||
      !is_on_device(*handle, c, c_size)) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  return submit(*handle, [=] {
    const RangeOpen open_a(a, bytes_of(a_size));
    const RangeOpen open_b(b, bytes_of(b_size));
    const RangeOpen open_c(c, bytes_of(c_size));
    for (int64_t number = 0; number < count; ++number) multiply(product, number);
  });
}

cublasStatus_t cublasSgemv(cublasHandle_t handle, cublasOperation_t operation, int m, int n,
                           const float* alpha, const float* a, int lda, const float* x, int incx,
                           const float* beta, float* y, int incy) {
  const auto lock = drml_emulator::lock_devices();
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Matrices<const float> matrix{a, m, n, lda, 0};
  if (m < 0 || n < 0 || incx == 0 || incy == 0 || alpha == nullptr || beta == nullptr ||
      !is_operation(operation) || !matrix.is_valid()) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const bool plain = operation == CUBLAS_OP_N;
  const int64_t x_length = plain ? n : m;
  const int64_t y_length = plain ? m : n;
  const int64_t x_size = vector_size(x_length, incx);
  const int64_t y_size = vector_size(y_length, incy);
  if (!is_on_device(*handle, a, matrix.size(1)) || !is_on_device(*handle, x, x_size) ||
      !is_on_device(*handle, y, y_size)) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  return submit(*handle, [=, alpha = *alpha, beta = *beta] {
    const RangeOpen open_a(a, bytes_of(matrix.size(1)));
    const RangeOpen open_x(x, bytes_of(x_size));
    const RangeOpen open_y(y, bytes_of(y_size));
    // A negative step goes through a vector from its end.
    const float* first_x = incx > 0 ? x : x + (x_size - 1);
    float* first_y = incy > 0 ? y : y + (y_size - 1);
    for (int64_t i = 0; i < y_length; ++i) {
      float sum = 0;
      for (int64_t j = 0; j < x_length; ++j) {
        sum += a[plain ? j * lda + i : i * lda + j] * first_x[j * incx];
      }
      float& result = first_y[i * incy];
      result = alpha * sum + (beta == 0 ? 0 : beta * result);
    }
  });
}
