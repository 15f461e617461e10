// Loops over a tensor with parameters that are broadcast over some of its axes: one scale or mean
// per channel, say.
//
// The tensor is walked in the order of its memory, in runs along which the parameters advance by
// equal steps: by none over the pixels of a row-major channel, by one over the channels of a pixel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "broadcast_axes.h"
#include "cpu/elementwise.h"
#include "tensor.h"

namespace drml {

struct Run {
  int64_t start;  // of the first line, in the tensor's memory
  int64_t lines;  // one behind the other, all with the same parameters
  int64_t count;  // numbers of each line
  int64_t at;     // of a line's first parameter, in the parameters' memory
};

class Broadcast {
 public:
  // The arguments of broadcast_axes.
  Broadcast(const Tensor& x, const Tensor& parameter, int64_t axis)
      : size_(x.size()), axes_(broadcast_axes(x, parameter, axis)) {
    inner_ = take_last();
    line_parts_ = (inner_.size + kLongest - 1) / kLongest;
    repeats_ = !axes_.empty() && axes_.back().step == 0 ? take_last().size : 1;
    lines_ = std::max(int64_t{1}, kLongest / inner_.size);
    repeat_parts_ = (repeats_ + lines_ - 1) / lines_;
  }

  int64_t size() const { return size_; }
  int64_t runs() const { return size_ / (inner_.size * repeats_) * repeat_parts_ * line_parts_; }
  int64_t step() const { return inner_.step; }  // of the parameters along a line

  Run run(int64_t number) const {
    const int64_t part = number % line_parts_ * kLongest;
    number /= line_parts_;
    const int64_t first = number % repeat_parts_ * lines_;
    number /= repeat_parts_;
    Run run{(number * repeats_ + first) * inner_.size + part, std::min(lines_, repeats_ - first),
            std::min(kLongest, inner_.size - part), part * inner_.step};
    for (size_t i = axes_.size(); i-- > 0;) {
      run.at += number % axes_[i].size * axes_[i].step;
      number /= axes_[i].size;
    }
    return run;
  }

 private:
  static constexpr int64_t kLongest = 4096;

  BroadcastAxis take_last() {
    if (axes_.empty()) return {1, 1, 0};
    const BroadcastAxis last = axes_.back();
    axes_.pop_back();
    return last;
  }

  int64_t size_;
  std::vector<BroadcastAxis> axes_;  // without those below
  BroadcastAxis inner_;              // a line
  int64_t repeats_;                  // lines one behind the other that have the same parameters
  int64_t lines_;                    // that a run takes of them
  int64_t line_parts_;  // runs that a line is cut into, and that the repeats are cut into
  int64_t repeat_parts_;
};

// Calls f(step) with a step that is a constant for the compiler in the two cases that matter.
template <typename F>
void with_constant_step(int64_t step, F f) {
  if (step == 0) {
    f(std::integral_constant<int64_t, 0>());
  } else if (step == 1) {
    f(std::integral_constant<int64_t, 1>());
  } else {
    f(step);
  }
}

// Calls f(i, p) for every number i of the tensor and its parameter p, vectorized and on all
// threads.
template <typename F>
void for_each_element(const Broadcast& broadcast, F f) {
  with_constant_step(broadcast.step(), [&](auto step) {
#pragma omp parallel for schedule(static) if (broadcast.size() > kParallelSize)
    for (int64_t number = 0; number < broadcast.runs(); ++number) {
      const Run run = broadcast.run(number);
      for (int64_t line = 0; line < run.lines; ++line) {
        const int64_t start = run.start + line * run.count;
#pragma omp simd
        for (int64_t i = 0; i < run.count; ++i) f(start + i, run.at + i * step);
      }
    }
  });
}

struct Terms {
  double first;
  double second;
};

struct Sums {
  std::vector<double> first;
  std::vector<double> second;
};

// For each of `parameters` parameters p, the sums of f(i, p) over its numbers i. They are formed in
// parts, whose number depends on the sizes alone, and the parts are added in order: the same bits
// for any number of threads.
template <typename F>
Sums sum_by_parameter(const Broadcast& broadcast, int64_t parameters, F f) {
  // Enough parts for many threads, but each has far more to read than sums to keep.
  const int64_t parts = std::clamp<int64_t>(broadcast.size() / (64 * parameters), 1, 64);
  const auto size = static_cast<size_t>(parameters);
  Sums all{std::vector<double>(static_cast<size_t>(parts) * size),
           std::vector<double>(static_cast<size_t>(parts) * size)};
  with_constant_step(broadcast.step(), [&](auto step) {
#pragma omp parallel for schedule(static) if (broadcast.size() > kParallelSize)
    for (int64_t part = 0; part < parts; ++part) {
      double* first = all.first.data() + static_cast<size_t>(part) * size;
      double* second = all.second.data() + static_cast<size_t>(part) * size;
      const int64_t end = broadcast.runs() * (part + 1) / parts;
      for (int64_t number = broadcast.runs() * part / parts; number < end; ++number) {
        const Run run = broadcast.run(number);
        for (int64_t line = 0; line < run.lines; ++line) {
          const int64_t start = run.start + line * run.count;
          if (step == 0) {
            double a = 0;
            double b = 0;
#pragma omp simd reduction(+ : a, b)
            for (int64_t i = 0; i < run.count; ++i) {
              const Terms terms = f(start + i, run.at);
              a += terms.first;
              b += terms.second;
            }
            first[run.at] += a;
            second[run.at] += b;
          } else {
#pragma omp simd
            for (int64_t i = 0; i < run.count; ++i) {
              const int64_t p = run.at + i * step;
              const Terms terms = f(start + i, p);
              first[p] += terms.first;
              second[p] += terms.second;
            }
          }
        }
      }
    }
  });
  for (size_t at = size; at < all.first.size(); ++at) {
    all.first[at % size] += all.first[at];
    all.second[at % size] += all.second[at];
  }
  all.first.resize(size);
  all.second.resize(size);
  return all;
}

}  // namespace drml
