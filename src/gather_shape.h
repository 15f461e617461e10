// What the gather ops of every device check, the sizes that they take from it, and the words for an
// index that is wrong.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>

#include "check.h"
#include "elements.h"
#include "tensor.h"

namespace drml {

struct GatherShape {
  int64_t rows;    // to choose from
  int64_t chosen;  // as many as the index has numbers
  int64_t length;  // of a row, whose numbers lie behind one another

  int64_t size() const { return chosen * length; }
};

// x holds the rows, y the chosen ones: of forward or of backward.
inline GatherShape make_gather_shape(const char* op, const Tensor& x, const Tensor& index,
                                     const Tensor& y) {
  DRML_CHECK(x.ndim() > 0 && x.ndim() == y.ndim() && y.dim(0) == index.size(), op, ": rows of x ",
             to_string(x.shape()), " chosen by index ", to_string(index.shape()), " do not make y ",
             to_string(y.shape()));
  GatherShape s{x.dim(0), y.dim(0), 1};
  bool alike = true;
  for (int64_t axis = x.ndim() - 1; axis > 0; --axis) {
    DRML_CHECK(x.dim(axis) == y.dim(axis), op, ": x ", to_string(x.shape()), " and y ",
               to_string(y.shape()), " differ in axis ", axis);
    s.length *= x.dim(axis);
    alike = alike && (x.dim(axis) == 1 || x.stride(axis) == y.stride(axis));
  }
  const auto whole = [&](const Tensor& t) {
    return t.size() == 0 || (t.is_dense() && (t.dim(0) == 1 || t.stride(0) == s.length));
  };
  DRML_CHECK(s.size() == 0 || (alike && whole(x) && whole(y)), op, ": rows of x ",
             to_string(x.shape()), " and y ", to_string(y.shape()), " lie differently in memory");
  return s;
}

// The word for an index that is none of `rows` rows; it is number `position`.
inline std::string wrong_row(const char* op, float index, int64_t position, int64_t rows) {
  std::ostringstream message;
  message << op << ": index " << index << " at position " << position
          << " is not a row number below " << rows;
  return message.str();
}

}  // namespace drml
