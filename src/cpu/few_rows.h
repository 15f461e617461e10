// Inner products of so few rows that reading the weights is what takes the time.
#pragma once

#include <cstdint>

namespace drml {

// Whether multiply_few_rows is the quickest for so many rows.
bool are_few_rows(int64_t rows, int64_t inputs, int64_t outputs);

// y (rows, outputs) = x (rows, inputs) times weight (outputs, inputs) + bias, which may be null.
void multiply_few_rows(int64_t rows, int64_t inputs, int64_t outputs, const float* x,
                       const float* weight, const float* bias, float* y);

// Whether few_rows_data_gradient is the quickest for so many rows.
bool are_few_gradients(int64_t rows, int64_t inputs, int64_t outputs);

// dx (rows, inputs) = dy (rows, outputs) times weight.
void few_rows_data_gradient(int64_t rows, int64_t inputs, int64_t outputs, const float* dy,
                            const float* weight, float* dx);

}  // namespace drml
