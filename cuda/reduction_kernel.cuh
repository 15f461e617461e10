// Kernels of the reduction: sums of parts of rows, then of the parts.
#pragma once

#include "lines.cuh"

namespace drml {
namespace cuda {

// The rows of a row-major array, each of them cut into parts that are the work of a team.
struct RowParts {
  int64_t rows, length;
  int64_t parts;        // of a row
  int64_t part_length;  // of all but a row's last part, which may be shorter

  __device__ int64_t count() const { return rows * parts; }
  // Where part `number` begins and ends in memory.
  __device__ int64_t start(int64_t number) const {
    return number / parts * length + number % parts * part_length;
  }
  __device__ int64_t end(int64_t number) const {
    return number / parts * length + min(length, (number % parts + 1) * part_length);
  }
};

// What is summed, numbered as the op's attribute.
enum { kSum = 1, kAbsoluteSum, kSquareSum };

// A team of kThreads per part. Sums are double: their order is fixed, but not Caffe's.
template <int kThreads>
__global__ void reduce_parts_kernel(RowParts rows, int operation, const float* __restrict__ x,
                                    double* __restrict__ partial) {
  __shared__ double shared[32];
  const LineTeam<kThreads> team;
  for (int64_t part = team.first(); part < rows.count(); part += team.stride()) {
    double sum = 0;
    const int64_t end = rows.end(part);
    for (int64_t i = rows.start(part) + team.rank(); i < end; i += kThreads) {
      const double value = x[i];
      sum += operation == kSquareSum ? value * value
                                     : (operation == kAbsoluteSum ? fabs(value) : value);
    }
    sum = team.sum(sum, shared);
    if (team.rank() == 0) partial[part] = sum;
  }
}

// One thread adds the parts of one row.
__global__ void reduce_rows_kernel(RowParts rows, float coeff, const double* __restrict__ partial,
                                   float* __restrict__ y) {
  DRML_GRID_LOOP(row, rows.rows) {
    double sum = 0;
    for (int64_t part = 0; part < rows.parts; ++part) sum += partial[row * rows.parts + part];
    y[row] = static_cast<float>(sum * coeff);
  }
}

// One thread computes the gradient of one number.
__global__ void reduction_backward_kernel(RowParts rows, int operation, float coeff,
                                          const float* __restrict__ x, const float* __restrict__ dy,
                                          float* __restrict__ dx) {
  DRML_GRID_LOOP(i, rows.rows * rows.length) {
    const float factor = coeff * dy[i / rows.length];
    const float value = x[i];
    const float sign = static_cast<float>((value > 0) - (value < 0));
    dx[i] =
        factor * (operation == kSquareSum ? 2 * value : (operation == kAbsoluteSum ? sign : 1.0f));
  }
}

#ifdef DRML_KERNELS_ONLY
template __global__ void reduce_parts_kernel<1>(RowParts, int, const float*, double*);
template __global__ void reduce_parts_kernel<kLineThreads>(RowParts, int, const float*, double*);
#endif

}  // namespace cuda
}  // namespace drml
