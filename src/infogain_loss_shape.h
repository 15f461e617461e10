// What the infogain losses of every device check of their matrix.
#pragma once

#include "labelled_lines_shape.h"
#include "parameter.h"

namespace drml {

// Of K classes: `infogain` (K, K), a row for each label.
inline void check_infogain(const char* op, const Lines& lines, const Tensor& infogain) {
  check_parameter(op, "infogain", infogain, {lines.length(), lines.length()});
}

// `row_sums` (K): of the rows of the matrix.
inline void check_row_sums(const char* op, const Lines& lines, const Tensor& row_sums) {
  check_parameter(op, "row_sums", row_sums, {lines.length()});
}

}  // namespace drml
