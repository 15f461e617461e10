// Loops whose length a kernel fixes when it is compiled, so that its sums stay in registers. For
// *_kernel.cpp files, see simd.h.
#pragma once

#include <cstdint>

#include "cpu/simd.h"

#ifdef DRML_ISA
namespace drml::DRML_ISA {

template <int kN>
struct Constant {
  static constexpr int value = kN;
};

// Calls f(constant n) for n = count, which is kMost or less.
template <int kMost, typename F>
inline void with_constant(int64_t count, F f) {
  if constexpr (kMost > 1) {
    if (count < kMost) {
      with_constant<kMost - 1>(count, f);
      return;
    }
  }
  f(Constant<kMost>());
}

// Calls f(first, constant n) for equal parts of `count` rows, as few as there can be of at most
// kMost rows.
template <int kMost, typename F>
inline void for_parts(int64_t count, F f) {
  const int64_t parts = (count + kMost - 1) / kMost;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = count * part / parts;
    with_constant<kMost>(count * (part + 1) / parts - first, [&](auto n) { f(first, n); });
  }
}

}  // namespace drml::DRML_ISA
#endif
