// What the environment asks of the emulator; cuda_runtime.h lists the variables.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>

namespace drml_emulator {

struct Order {
  enum class Kind { kForward, kReverse, kRandom };

  Kind kind = Kind::kForward;
  unsigned int seed = 0;

  static Order from_environment();

  bool operator==(const Order& other) const { return kind == other.kind && seed == other.seed; }

  template <typename Iterator>
  void apply(Iterator first, Iterator last) const {
    if (kind == Kind::kReverse) std::reverse(first, last);
    if (kind == Kind::kRandom) std::shuffle(first, last, std::mt19937(seed));
  }
};

struct Settings {
  int64_t devices;
  size_t memory;  // bytes per device
  int64_t arch;   // compute capability times ten
  int threads;    // of the host
};

const Settings& settings();

}  // namespace drml_emulator
