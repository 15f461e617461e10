// The emulated cuBLAS against sums written out: every transpose, gaps between columns, batches.
#include <cublas_v2.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "testing.h"

namespace {

constexpr int kGap = 3;  // numbers between columns, and between the matrices of a batch

cublasHandle_t handle = nullptr;

struct Matrix {
  Matrix(int row_count, int column_count, bool is_transposed, int count, float start)
      : rows(row_count),
        columns(column_count),
        transposed(is_transposed),
        ld((is_transposed ? column_count : row_count) + kGap),
        stride(static_cast<int64_t>(is_transposed ? row_count : column_count) * ld + kGap),
        values(static_cast<size_t>(stride * count)) {
    for (float& value : values) value = std::sin(start += 1);
  }

  size_t place(int number, int row, int column) const {
    return static_cast<size_t>(number * stride +
                               (transposed ? row * ld + column : column * ld + row));
  }
  cublasOperation_t operation() const { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

  int rows;
  int columns;
  bool transposed;
  int ld;
  int64_t stride;
  std::vector<float> values;
};

void expect_near(const std::vector<float>& got, const std::vector<double>& want) {
  for (size_t i = 0; i < got.size(); ++i) EXPECT(std::abs(got[i] - want[i]) < 1e-5);
}

void check_product(int m, int n, int k, bool a_transposed, bool b_transposed, float alpha,
                   float beta, int count) {
  const Matrix a(m, k, a_transposed, count, 0);
  const Matrix b(k, n, b_transposed, count, 1000);
  Matrix c(m, n, false, count, 2000);
  std::vector<double> want(c.values.begin(), c.values.end());
  for (int number = 0; number < count; ++number) {
    for (int row = 0; row < m; ++row) {
      for (int column = 0; column < n; ++column) {
        double sum = 0;
        for (int i = 0; i < k; ++i) {
          sum += double{a.values[a.place(number, row, i)]} * b.values[b.place(number, i, column)];
        }
        float& before = c.values[c.place(number, row, column)];
        want[c.place(number, row, column)] = alpha * sum + double{beta} * before;
        // What is not read cannot spoil the product.
        if (beta == 0) before = std::numeric_limits<float>::quiet_NaN();
      }
    }
  }
  const Array<float> a_device(a.values);
  const Array<float> b_device(b.values);
  const Array<float> c_device(c.values);
  if (count == 1) {
    EXPECT(cublasSgemm(handle, a.operation(), b.operation(), m, n, k, &alpha, a_device, a.ld,
                       b_device, b.ld, &beta, c_device, c.ld) == CUBLAS_STATUS_SUCCESS);
  } else {
    EXPECT(cublasSgemmStridedBatched(handle, a.operation(), b.operation(), m, n, k, &alpha,
                                     a_device, a.ld, a.stride, b_device, b.ld, b.stride, &beta,
                                     c_device, c.ld, c.stride, count) == CUBLAS_STATUS_SUCCESS);
  }
  expect_near(c_device.get(), want);
}

void check_vector(bool transposed, int x_step, int y_step, float alpha, float beta) {
  const Matrix a(5, 4, false, 1, 0);
  const int x_length = transposed ? a.rows : a.columns;
  const int y_length = transposed ? a.columns : a.rows;
  // A negative step starts at the end of a vector.
  const auto place = [](int i, int length, int step) {
    return static_cast<size_t>(step > 0 ? i * step : (i - length + 1) * step);
  };
  const Matrix x((x_length - 1) * std::abs(x_step) + 1, 1, false, 1, 100);
  const Matrix y((y_length - 1) * std::abs(y_step) + 1, 1, false, 1, 200);
  std::vector<double> want(y.values.begin(), y.values.end());
  for (int i = 0; i < y_length; ++i) {
    double sum = 0;
    for (int j = 0; j < x_length; ++j) {
      const size_t at = transposed ? a.place(0, j, i) : a.place(0, i, j);
      sum += double{a.values[at]} * x.values[place(j, x_length, x_step)];
    }
    double& result = want[place(i, y_length, y_step)];
    result = alpha * sum + beta * result;
  }
  const Array<float> a_device(a.values);
  const Array<float> x_device(x.values);
  const Array<float> y_device(y.values);
  EXPECT(cublasSgemv(handle, transposed ? CUBLAS_OP_T : CUBLAS_OP_N, a.rows, a.columns, &alpha,
                     a_device, a.ld, x_device, x_step, &beta, y_device,
                     y_step) == CUBLAS_STATUS_SUCCESS);
  expect_near(y_device.get(), want);
}

void check_errors() {
  const float one = 1;
  const Array<float> a(std::vector<float>(12, 1.0f));
  const Array<float> c(std::vector<float>(9, 1.0f));
  const auto multiply = [&](int m, int lda, const float* from, float* to) {
    return cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_T, m, 3, 4, &one, from, lda, a, 3, &one, to,
                       3);
  };
  EXPECT(multiply(3, 3, a, c) == CUBLAS_STATUS_SUCCESS);
  EXPECT(multiply(-1, 3, a, c) == CUBLAS_STATUS_INVALID_VALUE);
  EXPECT(multiply(3, 2, a, c) == CUBLAS_STATUS_INVALID_VALUE);
  EXPECT(multiply(3, 3, a + 1, c) == CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT(multiply(3, 3, a, c + 1) == CUBLAS_STATUS_EXECUTION_FAILED);
  std::vector<float> host(12);
  EXPECT(multiply(3, 3, host.data(), c) == CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT(multiply(0, 3, a, c) == CUBLAS_STATUS_SUCCESS);
  EXPECT(c.get() == std::vector<float>(9, 5.0f));
  EXPECT(cublasSetWorkspace(handle, host.data(), 48) == CUBLAS_STATUS_INVALID_VALUE);
  EXPECT(cublasSetWorkspace(handle, a, 48) == CUBLAS_STATUS_SUCCESS);
  EXPECT(cublasSetMathMode(handle, CUBLAS_PEDANTIC_MATH) == CUBLAS_STATUS_SUCCESS);
  EXPECT(cublasSetStream(nullptr, nullptr) == CUBLAS_STATUS_NOT_INITIALIZED);

  // The scalars are those of the call, not of the graph's launch.
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  EXPECT_STATUS(cudaSuccess, cudaStreamCreate(&stream));
  EXPECT(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  EXPECT_STATUS(cudaSuccess, cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  EXPECT(multiply(3, 3, a, c) == CUBLAS_STATUS_SUCCESS);
  EXPECT_STATUS(cudaSuccess, cudaStreamEndCapture(stream, &graph));
  EXPECT(c.get() == std::vector<float>(9, 5.0f));
  EXPECT_STATUS(cudaSuccess, cudaGraphInstantiate(&exec, graph, 0));
  EXPECT_STATUS(cudaSuccess, cudaGraphLaunch(exec, stream));
  EXPECT(c.get() == std::vector<float>(9, 9.0f));
  EXPECT_STATUS(cudaSuccess, cudaGraphExecDestroy(exec));
  EXPECT_STATUS(cudaSuccess, cudaGraphDestroy(graph));
  EXPECT_STATUS(cudaSuccess, cudaStreamDestroy(stream));
}

}  // namespace

int main() {
  EXPECT(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  for (const bool a_transposed : {false, true}) {
    for (const bool b_transposed : {false, true}) {
      check_product(5, 4, 7, a_transposed, b_transposed, 1, 0, 1);
      check_product(1, 6, 3, a_transposed, b_transposed, 0.5f, 2, 1);
      check_product(33, 2, 17, a_transposed, b_transposed, -1, 1, 3);
      check_product(2, 3, 0, a_transposed, b_transposed, 1, 0.5f, 2);
    }
    check_vector(a_transposed, 1, 1, 1, 0);
    check_vector(a_transposed, 2, -3, 0.5f, 2);
    check_vector(a_transposed, -2, 1, -1, 1);
  }
  check_errors();
  EXPECT(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
  return failed ? 1 : 0;
}
