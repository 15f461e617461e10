// Describes lines to kernels, and chooses the threads of a line.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/context.h"
#include "cuda/lines.cuh"
#include "cuda/strided.h"
#include "elements.h"
#include "tensor.h"

namespace drml::cuda {

inline LinePlaces places_of_lines(const char* op, const Tensor& x, int64_t axis) {
  const Lines lines(op, x, axis);
  std::vector<Axis<1>> others;
  for (int64_t other = 0; other < x.ndim(); ++other) {
    if (other != axis && x.dim(other) != 1) others.push_back({x.dim(other), {x.stride(other)}});
  }
  return {merge_axes<1>(op, others), lines.count(), lines.length(), lines.step()};
}

// Whether a line is the work of a block. Neighbouring threads read neighbours in memory when a
// line has no gaps; where it has, a thread per line does so, if there are threads enough.
inline bool has_team(const LinePlaces& lines) {
  return lines.length >= kLineThreads && (lines.step == 1 || lines.count < 4096);
}

}  // namespace drml::cuda

// Launches a kernel template with the teams that fit the lines.
#define DRML_LAUNCH_LINES(context, kernel, lines, ...)                                             \
  do {                                                                                             \
    if (has_team(lines)) {                                                                         \
      DRML_LAUNCH(context, (kernel<kLineThreads>), blocks_for((lines).count, 1), kLineThreads, 0,  \
                  lines, __VA_ARGS__);                                                             \
    } else {                                                                                       \
      DRML_LAUNCH(context, (kernel<1>), blocks_for((lines).count), kBlock, 0, lines, __VA_ARGS__); \
    }                                                                                              \
  } while (false)
