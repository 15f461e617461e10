// Attributes of ops: small structs that Python fills and every backend reads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace drml {

using Pair = std::array<int64_t, 2>;  // rows, columns

struct ConvolutionAttrs {
  Pair stride{1, 1};
  Pair pad{0, 0};
  Pair dilation{1, 1};
  int64_t group = 1;
};

struct LocalAttrs {
  Pair stride{1, 1};
  Pair pad{0, 0};
  int64_t group = 1;
};

struct PoolingAttrs {
  bool max = true;  // the maximum of a window, not its mean
  Pair kernel{1, 1};
  Pair stride{1, 1};
  Pair pad{0, 0};
};

struct RegionAttrs {
  Pair grid{8, 8};
  int64_t pad = 1;
  float eps = 1e-5f;
  bool frozen = false;  // statistics are given, not computed from the batch
};

enum class Normalization { full, valid, batch_size, none };  // numbered as in Caffe's files

struct LossAttrs {
  Normalization normalization = Normalization::valid;
  std::optional<int64_t> ignore_label;
};

struct LrnAttrs {
  int64_t size = 5;
  float alpha = 1.0f;
  float beta = 0.75f;
  float k = 1.0f;
  bool within_channel = false;
};

enum class Reduction { sum = 1, asum, sumsq };  // numbered as in Caffe's files

}  // namespace drml
