// What cuBLAS computes: the matrix products of convolution and inner product.
//
// A convolution is Caffe's: im2col lays out what the filters see as a matrix, which the weights are
// multiplied with. Images are taken so many at a time that their columns fit in kColumns numbers:
// one at a time in DRML's first layers, dozens in the last ones, whose maps are too small to keep a
// device busy one by one. Results depend on the order of sums, so every size here is a function of
// the shapes alone.
#include <algorithm>
#include <climits>
#include <memory>
#include <numeric>

#include "convolution_shape.h"
#include "cuda/context.h"
#include "cuda/im2col_kernel.cuh"
#include "cuda/rows.h"
#include "inner_product_shape.h"
#include "ops.h"

namespace drml {
namespace cuda {
namespace {

// Matrix products --------------------------------------------------------------------------------

// Row-major matrices, one or as many as a batch has, or their transposes.
template <typename T>
struct Matrices {
  T* data;
  int64_t row;   // from one row to the next
  int64_t next;  // from one matrix of the batch to the next
  bool transposed = false;
};
using Input = Matrices<const float>;
using Output = Matrices<float>;

// c (m, n) = a (m, k) * b (k, n) + beta * c, for each matrix of the batch.
void multiply(Context& context, int64_t m, int64_t n, int64_t k, const Input& a, const Input& b,
              float beta, const Output& c, int64_t batch = 1) {
  const auto operation = [](const Input& x) { return x.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const auto size = [](int64_t number) { return static_cast<int>(number); };
  const float alpha = 1;
  // cuBLAS goes down columns where we go along rows. It sees transposes, and c' = b' * a'.
  if (batch == 1) {
    context.check(
        cublasSgemm(context.blas(), operation(b), operation(a), size(n), size(m), size(k), &alpha,
                    b.data, size(b.row), a.data, size(a.row), &beta, c.data, size(c.row)),
        "cublasSgemm");
  } else {
    context.check(
        cublasSgemmStridedBatched(context.blas(), operation(b), operation(a), size(n), size(m),
                                  size(k), &alpha, b.data, size(b.row), b.next, a.data, size(a.row),
                                  a.next, &beta, c.data, size(c.row), c.next, size(batch)),
        "cublasSgemmStridedBatched");
  }
}

// Blocks along an axis of a grid that has to stay under 2^16.
unsigned few_blocks(int64_t n) { return static_cast<unsigned>(std::min<int64_t>(n, 65535)); }

// Hands out pieces of an op's scratch memory, which is taken when all pieces are known.
class Pieces {
 public:
  int64_t add(int64_t numbers) {
    const int64_t start = size_;
    size_ += (numbers + 63) / 64 * 64;
    return start;
  }

  float* take(Context& context) const {
    const int64_t bytes = size_ * static_cast<int64_t>(sizeof(float));
    return size_ == 0 ? nullptr : reinterpret_cast<float*>(context.scratch(bytes));
  }

 private:
  int64_t size_ = 0;
};

// Convolution ------------------------------------------------------------------------------------

constexpr int64_t kColumns = int64_t{1} << 24;  // 64 MB

// Kernels and cuBLAS count in int.
ConvolutionShape convolution_shape(const char* op, const Tensor& x, const Tensor& weight,
                                   const Tensor* bias, const Tensor& y,
                                   const ConvolutionAttrs& attrs) {
  const ConvolutionShape s = make_convolution_shape(op, x, weight, bias, y, attrs);
  for (const int64_t number :
       {s.channels * s.pixels(), s.channels * s.places(), s.outputs * s.places(), s.depth(),
        s.x[0] + 2 * s.pad[0], s.x[1] + 2 * s.pad[1], s.stride[0], s.stride[1], s.dilation[0],
        s.dilation[1]}) {
    DRML_CHECK(number <= INT_MAX, op, ": x ", to_string(x.shape()), " with weight ",
               to_string(weight.shape()), " is too large: ", number, " does not fit in an int");
  }
  return s;
}

// Whether the columns of an image are the image as it lies.
bool is_pointwise(const ConvolutionShape& s) {
  return s.taps() == 1 && s.stride == Pair{1, 1} && s.pad == Pair{0, 0};
}

int64_t images_at_a_time(const ConvolutionShape& s) {
  const int64_t numbers = std::max(s.group * s.depth(), s.outputs) * s.places();
  return std::clamp<int64_t>(kColumns / numbers, 1, std::min<int64_t>(s.images, 65535));
}

ColumnSizes column_sizes(const ConvolutionShape& s, int64_t images) {
  ColumnSizes sizes{};
  sizes.channels = static_cast<int>(s.channels);
  for (size_t i = 0; i < 2; ++i) {
    const int64_t divisor = std::gcd(s.stride[i], s.dilation[i]);
    sizes.size[i] = static_cast<int>(s.x[i]);
    sizes.places[i] = static_cast<int>(s.y[i]);
    sizes.kernel[i] = static_cast<int>(s.kernel[i]);
    sizes.stride[i] = static_cast<int>(s.stride[i]);
    sizes.pad[i] = static_cast<int>(s.pad[i]);
    sizes.dilation[i] = static_cast<int>(s.dilation[i]);
    sizes.tap_step[i] = static_cast<int>(s.stride[i] / divisor);
    sizes.place_step[i] = static_cast<int>(s.dilation[i] / divisor);
  }
  sizes.row = images * s.places();
  return sizes;
}

void im2col(Context& context, const ConvolutionShape& s, int64_t images, const float* x,
            float* columns) {
  const dim3 grid(blocks_for(s.channels * s.places()), static_cast<unsigned>(images));
  DRML_LAUNCH(context, im2col_kernel, grid, kBlock, 0, column_sizes(s, images), x, columns);
}

void col2im(Context& context, const ConvolutionShape& s, int64_t images, const float* columns,
            float* x) {
  const dim3 grid(blocks_for(s.channels * s.pixels()), static_cast<unsigned>(images));
  DRML_LAUNCH(context, col2im_kernel, grid, kBlock, 0, column_sizes(s, images), columns, x);
}

// (images, outputs, places) in the order (outputs, images, places): the columns of a filter that
// sees one number.
void outputs_first(Context& context, const ConvolutionShape& s, int64_t images, const float* y,
                   float* rows) {
  const ConvolutionShape one{images, s.outputs, s.outputs, s.y,    s.y,
                             {1, 1}, {1, 1},    {0, 0},    {1, 1}, 1};
  im2col(context, one, images, y, rows);
}

// A weight gradient is a product of small matrices over a long inner dimension. That is cut into
// parts, as many as keep a large device busy, and their products are added in order.
int64_t most_parts(const ConvolutionShape& s, int64_t inner) {
  constexpr int64_t kTile[2] = {32, 128};  // of c, that one block of cuBLAS computes
  constexpr int64_t kBlocks = 256;
  constexpr int64_t kLeast = 512;  // numbers of a part
  const int64_t tiles =
      ((s.group_outputs() + kTile[0] - 1) / kTile[0]) * ((s.depth() + kTile[1] - 1) / kTile[1]);
  return std::max<int64_t>(1, std::min(kBlocks / tiles, inner / kLeast));
}

// dweight += rows (outputs, inner) * columns (depth, inner)', for the outputs of one group.
void add_product(Context& context, const ConvolutionShape& s, int64_t inner, const float* rows,
                 const float* columns, float* parts, float* dweight) {
  const int64_t outputs = s.group_outputs();
  const int64_t depth = s.depth();
  int64_t done = 0;
  const int64_t wanted = most_parts(s, inner);
  if (wanted > 1) {
    const int64_t length = ((inner + wanted - 1) / wanted + 31) / 32 * 32;
    const int64_t count = inner / length;
    multiply(context, outputs, depth, length, {rows, inner, length}, {columns, inner, length, true},
             0.0f, {parts, depth, outputs * depth}, count);
    add_rows(context, count, outputs * depth, parts, dweight);
    done = count * length;
  }
  if (done == inner) return;
  multiply(context, outputs, depth, inner - done, {rows + done, inner, 0},
           {columns + done, inner, 0, true}, 1.0f, {dweight, depth, 0});
}

// Scratch memory of a weight gradient.
struct GradientScratch {
  float* columns;  // of x
  float* rows;     // of dy, where several images are taken at a time
  float* parts;
};

// dweight += what some images give for it.
void add_weight_gradient(Context& context, const ConvolutionShape& s, int64_t images,
                         const float* x, const float* dy, const GradientScratch& scratch,
                         float* dweight) {
  const int64_t inner = images * s.places();
  const float* rows = dy;
  if (images > 1) {
    outputs_first(context, s, images, dy, scratch.rows);
    rows = scratch.rows;
  }
  im2col(context, s, images, x, scratch.columns);
  for (int64_t group = 0; group < s.group; ++group) {
    const int64_t output = group * s.group_outputs();
    add_product(context, s, inner, rows + output * inner,
                scratch.columns + group * s.depth() * inner, scratch.parts,
                dweight + output * s.depth());
  }
}

// dbias += the sums of dy over images and places. `sums` takes one number for each plane.
void add_bias_gradient(Context& context, const ConvolutionShape& s, const float* dy, float* sums,
                       float* dbias) {
  const int64_t planes = s.images * s.outputs;
  DRML_LAUNCH(context, plane_sums_kernel, few_blocks(planes), kBlock, 0, planes,
              static_cast<int>(s.places()), dy, sums);
  add_rows(context, s.images, s.outputs, sums, dbias);
}

// dx of some images. `columns` is not used where they are dx.
void data_gradient(Context& context, const ConvolutionShape& s, int64_t images, const float* weight,
                   const float* dy, float* columns, float* dx) {
  const int64_t places = s.places();
  Output to{columns, images * places, places};
  if (is_pointwise(s)) to = {dx, places, s.channels * places};
  for (int64_t group = 0; group < s.group; ++group) {
    const int64_t output = group * s.group_outputs();
    multiply(context, s.depth(), places, s.group_outputs(),
             {weight + output * s.depth(), s.depth(), 0, true},
             {dy + output * places, places, s.outputs * places}, 0.0f,
             {to.data + group * s.depth() * to.row, to.row, to.next}, images);
  }
  if (!is_pointwise(s)) col2im(context, s, images, columns, dx);
}

}  // namespace
}  // namespace cuda

void cuda::convolution_forward(const Tensor& x, const Tensor& weight, const Tensor* bias,
                               const Tensor& y, const ConvolutionAttrs& attrs) {
  const ConvolutionShape s = convolution_shape("convolution_forward", x, weight, bias, y, attrs);
  if (s.images == 0) return;
  Context& context = Context::of(x);
  const int64_t step = images_at_a_time(s);
  const int64_t places = s.places();
  Pieces pieces;
  if (!is_pointwise(s)) pieces.add(s.group * s.depth() * step * places);
  float* scratch = pieces.take(context);
  for (int64_t first = 0; first < s.images; first += step) {
    const int64_t images = std::min(step, s.images - first);
    const float* x_part = x.data() + first * s.channels * s.pixels();
    float* y_part = y.data() + first * s.outputs * places;
    Input columns{x_part, places, s.channels * places};
    if (!is_pointwise(s)) {
      im2col(context, s, images, x_part, scratch);
      columns = {scratch, images * places, places};
    }
    if (bias != nullptr) {
      const int64_t rows = images * s.outputs;
      DRML_LAUNCH(context, fill_bias_kernel<true>, dim3(blocks_for(places), few_blocks(rows)),
                  kBlock, 0, rows, static_cast<int>(places), static_cast<int>(s.outputs),
                  bias->data(), y_part);
    }
    for (int64_t group = 0; group < s.group; ++group) {
      const int64_t output = group * s.group_outputs();
      multiply(context, s.group_outputs(), places, s.depth(),
               {weight.data() + output * s.depth(), s.depth(), 0},
               {columns.data + group * s.depth() * columns.row, columns.row, columns.next},
               bias == nullptr ? 0.0f : 1.0f,
               {y_part + output * places, places, s.outputs * places}, images);
    }
  }
}

void cuda::convolution_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                const Tensor* dx, const Tensor* dweight, const Tensor* dbias,
                                const ConvolutionAttrs& attrs) {
  const char* op = "convolution_backward";
  const ConvolutionShape s = convolution_shape(op, x, weight, dbias, dy, attrs);
  check_window_gradients(op, x, weight, dx, dweight);
  if (s.images == 0) return;
  Context& context = Context::of(x);
  const int64_t step = images_at_a_time(s);
  const int64_t places = s.places();
  const bool any_columns = dweight != nullptr || (dx != nullptr && !is_pointwise(s));
  const bool any_rows = dweight != nullptr && step > 1;
  const int64_t parts = dweight == nullptr ? 0 : most_parts(s, step * places);
  Pieces pieces;
  const int64_t columns_at = pieces.add(any_columns ? s.group * s.depth() * step * places : 0);
  const int64_t rows_at = pieces.add(any_rows ? s.outputs * step * places : 0);
  const int64_t parts_at = pieces.add(parts * s.group_outputs() * s.depth());
  const int64_t sums_at = pieces.add(dbias == nullptr ? 0 : s.images * s.outputs);
  float* scratch = pieces.take(context);
  const GradientScratch of_dweight{scratch + columns_at, scratch + rows_at, scratch + parts_at};

  if (dbias != nullptr) {
    add_bias_gradient(context, s, dy.data(), scratch + sums_at, dbias->data());
  }
  for (int64_t first = 0; first < s.images; first += step) {
    const int64_t images = std::min(step, s.images - first);
    const int64_t x_at = first * s.channels * s.pixels();
    const float* dy_part = dy.data() + first * s.outputs * places;
    if (dweight != nullptr) {
      add_weight_gradient(context, s, images, x.data() + x_at, dy_part, of_dweight,
                          dweight->data());
    }
    if (dx != nullptr) {
      data_gradient(context, s, images, weight.data(), dy_part, scratch + columns_at,
                    dx->data() + x_at);
    }
  }
}

// Inner product ----------------------------------------------------------------------------------

namespace cuda {
namespace {

InnerProductShape inner_product_shape(const char* op, const Tensor& x, const Tensor& weight,
                                      const Tensor* bias, const Tensor& y, bool transpose) {
  const InnerProductShape s = make_inner_product_shape(op, x, weight, bias, y, transpose);
  DRML_CHECK(std::max({s.rows, s.inputs, s.outputs}) <= INT_MAX, op, ": x ", to_string(x.shape()),
             " holds ", s.rows, " rows, which do not fit in an int");
  return s;
}

// Numbers that row-major memory for a tensor takes: none if it is row-major itself.
int64_t rows_of(const Tensor* x) { return x == nullptr || x->is_row_major() ? 0 : x->size(); }

// x itself if it is row-major, else its shape in the given memory.
Tensor row_major_like(const Tensor& x, float* memory) {
  if (x.is_row_major()) return x;
  const std::shared_ptr<float> borrowed(std::shared_ptr<float>(), memory);
  return Tensor(borrowed, {x.size()}, {1}, x.device()).view(x.shape());
}

Tensor row_major_copy(const Tensor& x, float* memory) {
  const Tensor rows = row_major_like(x, memory);
  if (!x.is_row_major()) copy(x, rows);
  return rows;
}

}  // namespace
}  // namespace cuda

void cuda::inner_product_forward(const Tensor& x, const Tensor& weight, const Tensor* bias,
                                 const Tensor& y, bool transpose) {
  const char* op = "inner_product_forward";
  const auto [rows, inputs, outputs] = inner_product_shape(op, x, weight, bias, y, transpose);
  if (rows == 0) return;
  Context& context = Context::of(x);
  Pieces pieces;
  const int64_t x_at = pieces.add(rows_of(&x));
  const int64_t y_at = pieces.add(rows_of(&y));
  float* scratch = pieces.take(context);
  const Tensor x_rows = row_major_copy(x, scratch + x_at);
  const Tensor y_rows = row_major_like(y, scratch + y_at);
  if (bias != nullptr) {
    DRML_LAUNCH(context, fill_bias_kernel<false>, dim3(blocks_for(outputs), few_blocks(rows)),
                kBlock, 0, rows, static_cast<int>(outputs), static_cast<int>(outputs), bias->data(),
                y_rows.data());
  }
  multiply(context, rows, outputs, inputs, {x_rows.data(), inputs, 0},
           {weight.data(), weight.dim(1), 0, !transpose}, bias == nullptr ? 0.0f : 1.0f,
           {y_rows.data(), outputs, 0});
  if (!y.is_row_major()) copy(y_rows, y);
}

void cuda::inner_product_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                  const Tensor* dx, const Tensor* dweight, const Tensor* dbias,
                                  bool transpose, bool overwrite) {
  const char* op = "inner_product_backward";
  const auto [rows, inputs, outputs] = inner_product_shape(op, x, weight, dbias, dy, transpose);
  check_inner_product_gradients(op, x, weight, dx, dweight);
  if (rows == 0) {
    if (overwrite && dweight != nullptr) fill(*dweight, 0);
    return;
  }
  Context& context = Context::of(x);
  Pieces pieces;
  const int64_t dy_at = pieces.add(rows_of(&dy));
  const int64_t dx_at = pieces.add(rows_of(dx));
  const int64_t x_at = pieces.add(rows_of(dweight == nullptr ? nullptr : &x));
  float* scratch = pieces.take(context);
  const Tensor dy_rows = row_major_copy(dy, scratch + dy_at);
  if (dx != nullptr) {
    const Tensor dx_rows = row_major_like(*dx, scratch + dx_at);
    multiply(context, rows, inputs, outputs, {dy_rows.data(), outputs, 0},
             {weight.data(), weight.dim(1), 0, transpose}, 0.0f, {dx_rows.data(), inputs, 0});
    if (!dx->is_row_major()) copy(dx_rows, *dx);
  }
  if (dweight != nullptr) {
    const Tensor x_rows = row_major_copy(x, scratch + x_at);
    const Input x_matrix{x_rows.data(), inputs, 0, transpose};
    const Input dy_matrix{dy_rows.data(), outputs, 0, !transpose};
    const float beta = overwrite ? 0.0f : 1.0f;
    if (transpose) {
      multiply(context, inputs, outputs, rows, x_matrix, dy_matrix, beta,
               {dweight->data(), outputs, 0});
    } else {
      multiply(context, outputs, inputs, rows, dy_matrix, x_matrix, beta,
               {dweight->data(), inputs, 0});
    }
  }
  if (dbias != nullptr) add_rows(context, rows, outputs, dy_rows.data(), dbias->data());
}

}  // namespace drml
