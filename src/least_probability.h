// What a probability of the multinomial logistic loss and of the infogain loss counts as at least,
// as in Caffe: their logarithms, and divisions by them, stay finite.
#pragma once

namespace drml {

constexpr float kLeastProbability = 1e-20f;

}  // namespace drml
