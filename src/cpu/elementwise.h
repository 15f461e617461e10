// What the CPU's ops share that visit element after element: loops and sums.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "elements.h"

namespace drml {

// Fewer elements than this are one thread's work: waking the others would take longer.
constexpr int64_t kParallelSize = 1 << 14;

// Calls f(i) for 0 <= i < size, vectorized and on all threads. Each has its own f: numbers in one
// that all share might be among what f writes, and would be read again at every step.
template <typename F>
void for_each_index(int64_t size, F f) {
#pragma omp parallel for simd schedule(static) firstprivate(f) if (parallel : size > kParallelSize)
  for (int64_t i = 0; i < size; ++i) f(i);
}

// The sum of f(i), by blocks of a fixed size that are added in order: the same bits for any number
// of threads.
template <typename F>
double ordered_sum(int64_t size, F f) {
  constexpr int64_t kBlock = 1 << 12;
  const int64_t blocks = (size + kBlock - 1) / kBlock;
  std::vector<double> partial(static_cast<size_t>(blocks));
#pragma omp parallel for schedule(static) if (size > kParallelSize)
  for (int64_t block = 0; block < blocks; ++block) {
    double sum = 0;
    const int64_t end = std::min(size, (block + 1) * kBlock);
#pragma omp simd reduction(+ : sum)
    for (int64_t i = block * kBlock; i < end; ++i) sum += f(i);
    partial[static_cast<size_t>(block)] = sum;
  }
  double total = 0;
  for (double sum : partial) total += sum;
  return total;
}

}  // namespace drml
