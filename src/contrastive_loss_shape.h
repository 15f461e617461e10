// What the contrastive loss of every device checks, and the words for a label that is wrong.
#pragma once

#include <sstream>
#include <string>

#include "loss.h"
#include "parameter.h"

namespace drml {

// The numbers of a and b in pairs, with a label and a squared distance for each sample.
inline LabelledPairs make_contrastive_pairs(const char* op, const Tensor& a, const Tensor& b,
                                            const Tensor& label, const Tensor& distance) {
  const LabelledPairs pairs(op, a, b);
  DRML_CHECK(label.size() == pairs.samples(), op, ": ", pairs.samples(), " pairs of samples need ",
             "as many labels, got shape ", to_string(label.shape()));
  check_parameter(op, "distance", distance, {pairs.samples()});
  return pairs;
}

inline std::string wrong_pair_label(const char* op, float label, int64_t position) {
  std::ostringstream message;
  message << op << ": label " << label << " at position " << position
          << " is not a whole number; 0 is a dissimilar pair, any other a similar one";
  return message.str();
}

}  // namespace drml
