// Arrays of any shape: copy, add, scale, reduce.
#include <algorithm>
#include <optional>
#include <vector>

#include "cuda/context.h"
#include "cuda/math_kernel.cuh"
#include "cuda/strided.h"
#include "elements.h"
#include "ops.h"

namespace drml {
namespace cuda {
namespace {

constexpr int kMaxSums = 1024;  // blocks of a sum: as many as the largest GPUs hold at once

template <typename F>
void visit_flat(const Tensor& x, const Tensor& y, F f) {
  const int64_t n = x.size();
  if (n == 0) return;
  Context& context = Context::of(y);
  DRML_LAUNCH(context, (flat_kernel<F>), blocks_for((n + 3) / 4), kBlock, 0, n, x.data(), y.data(),
              f);
}

template <typename F>
void visit_strided(const Strided<2>& layout, const Tensor& x, const Tensor& y, F f) {
  const int64_t n = x.size();
  Context& context = Context::of(y);
  DRML_LAUNCH(context, (strided_kernel<F>), blocks_for(n), kBlock, 0, layout, n, x.data(), y.data(),
              f);
}

// The axes of two tensors, ordered as they lie in y's memory.
Strided<2> order_by_y(const char* op, const Tensor& x, const Tensor& y) {
  std::vector<Axis<2>> axes = axes_of(x, y);
  std::sort(axes.begin(), axes.end(),
            [](const Axis<2>& a, const Axis<2>& b) { return a.stride[1] > b.stride[1]; });
  return merge_axes(op, axes);
}

bool is_flat(const Strided<2>& layout) {
  return layout.axes == 0 ||
         (layout.axes == 1 && layout.stride[0][0] == 1 && layout.stride[0][1] == 1);
}

// A layout in which neighbours in x and neighbours in y lie along different axes.
std::optional<Transposition> as_transposition(const Strided<2>& layout) {
  const int down = layout.axes - 1;
  int across = 0;
  while (across < down && layout.stride[across][0] != 1) ++across;
  if (across == down || layout.stride[down][1] != 1) return std::nullopt;
  Transposition g = {};
  g.width = layout.size[across];
  g.height = layout.size[down];
  g.x_step = layout.stride[down][0];
  g.y_step = layout.stride[across][1];
  // A tile of a narrow array, such as images of three channels, is longer, and as large.
  const int64_t narrow = std::min({int64_t{kTile}, g.width, g.height});
  const int64_t length = kTile / narrow * kTile;
  const bool wide = g.width > g.height;
  g.tile_width = static_cast<int>(wide ? std::min(length, g.width) : narrow);
  g.tile_height = static_cast<int>(wide ? narrow : std::min(length, g.height));
  g.tiles_across = (g.width + g.tile_width - 1) / g.tile_width;
  g.tiles_down = (g.height + g.tile_height - 1) / g.tile_height;
  g.tiles = g.tiles_across * g.tiles_down;
  for (int axis = 0; axis < down; ++axis) {
    if (axis == across) continue;
    g.outer.size[g.outer.axes] = layout.size[axis];
    std::copy_n(layout.stride[axis], 2, g.outer.stride[g.outer.axes]);
    g.tiles *= layout.size[axis];
    ++g.outer.axes;
  }
  return g;
}

// Calls f(element of x, element of y) for equal positions.
template <typename F>
void visit_pairs(const char* op, const Tensor& x, const Tensor& y, F f) {
  check_same_shape(op, x, y);
  if (x.size() == 0) return;
  const Strided<2> layout = order_by_y(op, x, y);
  if (is_flat(layout)) {
    visit_flat(x, y, f);
  } else if (const std::optional<Transposition> g = as_transposition(layout)) {
    Context& context = Context::of(y);
    DRML_LAUNCH(context, (transpose_kernel<F>), blocks_for(g->tiles, 1), kBlock, 0, *g, x.data(),
                y.data(), f);
  } else {
    visit_strided(layout, x, y, f);
  }
}

template <typename F>
double sum(const char* op, const Tensor& x, F f) {
  check_dense(op, x);
  const int64_t n = x.size();
  if (n == 0) return 0;
  Context& context = Context::of(x);
  const int blocks = std::min(blocks_for(n, 16 * kBlock), kMaxSums);
  auto* partial =
      reinterpret_cast<double*>(context.scratch((blocks + 1) * int64_t{sizeof(double)}));
  DRML_LAUNCH(context, (sum_kernel<F>), blocks, kBlock, 0, n, x.data(), partial, f);
  DRML_LAUNCH(context, total_kernel, 1, kBlock, 0, blocks, partial, partial + blocks);
  double total = 0;
  context.read(partial + blocks, sizeof total, &total);
  return total;
}

}  // namespace
}  // namespace cuda

void cuda::copy(const Tensor& x, const Tensor& y) { visit_pairs("copy", x, y, Assign()); }

void cuda::add(const Tensor& x, const Tensor& y) { visit_pairs("add", x, y, Accumulate()); }

void cuda::fill(const Tensor& x, float value) {
  if (x.size() == 0) return;
  const Strided<2> layout = order_by_y("fill", x, x);
  if (is_flat(layout)) {
    visit_flat(x, x, Set{value});
  } else {
    visit_strided(layout, x, x, Set{value});
  }
}

void cuda::axpby(float alpha, const Tensor& x, float beta, const Tensor& y) {
  check_same_layout("axpby", x, y);
  // beta 0 means that y's old value, which may be anything, is not read.
  if (beta == 0) {
    visit_flat(x, y, Multiply{alpha});
  } else {
    visit_flat(x, y, Combine{alpha, beta});
  }
}

void cuda::divide(const Tensor& x, const Tensor& divisor, const Tensor& y) {
  const int64_t length = check_divide(x, divisor, y);
  const int64_t n = x.size();
  if (n == 0) return;
  DRML_LAUNCH(Context::of(x), divide_kernel, blocks_for(n), kBlock, 0, n, length, x.data(),
              divisor.data(), y.data());
}

double cuda::sum_squares(const Tensor& x) { return sum("sum_squares", x, Square()); }

double cuda::sum_abs(const Tensor& x) { return sum("sum_abs", x, Magnitude()); }

bool cuda::all_finite(const Tensor& x) { return sum("all_finite", x, TimesZero()) == 0; }

}  // namespace drml
