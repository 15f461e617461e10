// The locally connected layer on the CPU: a convolution whose filters differ from place to place.
//
// There are far more weights than anything else (LCN has 71 million in one layer), so the locations
// are the outer loop and each location's weights are read from memory once for the whole batch.
// They meet blocks of images that lie side by side in a padded copy of x, one image in each lane of
// a vector: whatever the kernel's size, a window needs no gathering, and sums no shuffling. dx is
// added up in the same layout. Only dweight wants its windows row by row, and gathers them.
//
// Backward walks tiles of locations, one color of LocalTiles after another, so that threads never
// meet in dx and the order of its sums depends on the shape alone.
#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "check.h"
#include "cpu/local_kernel.h"
#include "local_shape.h"
#include "ops.h"

namespace drml {
namespace {

// Numbers that a window is copied by, whose rows are too short for more. Planes and windows have
// room for as many more.
constexpr int64_t kQuad = 4;

const LocalKernels& kernels() {
#ifdef DRML_HAS_avx512
  if (best_isa() == Isa::avx512) return avx512::local_kernels;
  if (best_isa() == Isa::avx2) return avx2::local_kernels;
#endif
  return portable::local_kernels;
}

// Planes with their padding, (blocks of images, channels, rows, columns, images of a block).
struct Planes {
  Planes(const LocalShape& shape, int64_t images_of_block)
      : block(images_of_block),
        blocks((shape.images + block - 1) / block),
        row_stride((shape.x[1] + 2 * shape.pad[1]) * block),
        plane_stride((shape.x[0] + 2 * shape.pad[0]) * row_stride),
        block_stride(shape.channels * plane_stride),
        numbers(static_cast<size_t>(blocks * block_stride + kQuad)) {}

  float* data() { return numbers.data(); }
  const float* data() const { return numbers.data(); }

  int64_t block;  // images of a block
  int64_t blocks;
  int64_t row_stride;    // numbers from one row to the next
  int64_t plane_stride;  // ... from one plane to the next
  int64_t block_stride;  // ... from one block to the next
  std::vector<float> numbers;
};

// Calls f(map, place) for each pixel of each image: for where its first channel lies in a
// channels-last map, and in the planes.
template <typename F>
void for_pixels(const LocalShape& s, const Planes& planes, F f) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < planes.blocks * s.x[0]; ++i) {
    const int64_t first = i / s.x[0] * planes.block;
    const int64_t row = i % s.x[0];
    const int64_t place = i / s.x[0] * planes.block_stride + (row + s.pad[0]) * planes.row_stride;
    for (int64_t col = 0; col < s.x[1]; ++col) {
      for (int64_t n = 0; n < std::min(planes.block, s.images - first); ++n) {
        f((((first + n) * s.x[0] + row) * s.x[1] + col) * s.channels,
          place + (col + s.pad[1]) * planes.block + n);
      }
    }
  }
}

Planes make_planes(const LocalShape& s, int64_t block, const float* x) {
  Planes planes(s, block);
  float* data = planes.data();
  for_pixels(s, planes, [&](int64_t map, int64_t place) {
    for (int64_t c = 0; c < s.channels; ++c) data[place + c * planes.plane_stride] = x[map + c];
  });
  return planes;
}

void store_planes(const LocalShape& s, const Planes& planes, float* dx) {
  const float* data = planes.data();
  for_pixels(s, planes, [&](int64_t map, int64_t place) {
    for (int64_t c = 0; c < s.channels; ++c) dx[map + c] = data[place + c * planes.plane_stride];
  });
}

// Where the window of a location begins in the planes of a block.
int64_t window_of(const LocalShape& s, const Planes& planes, int64_t location) {
  return location / s.y[1] * s.stride[0] * planes.row_stride +
         location % s.y[1] * s.stride[1] * planes.block;
}

// How far the numbers that a filter sees are from the first of them.
std::vector<int64_t> window_offsets(const LocalShape& s, const Planes& planes) {
  std::vector<int64_t> offsets;
  for (int64_t c = 0; c < s.channels / s.group; ++c) {
    for (int64_t row = 0; row < s.kernel[0]; ++row) {
      for (int64_t col = 0; col < s.kernel[1]; ++col) {
        offsets.push_back(c * planes.plane_stride + row * planes.row_stride + col * planes.block);
      }
    }
  }
  return offsets;
}

// Images that are computed together: no more lanes than there are images to fill them.
int64_t block_of(const LocalKernels& kernel, const LocalShape& s) {
  return s.images <= kernel.lanes ? kernel.lanes : 2 * kernel.lanes;
}

// What backward computes at one location. Each thread has its own, for the sake of the buffers.
class LocationBackward {
 public:
  // Null where a gradient is not wanted; x in blocks of one image, dx in those of the kernels.
  LocationBackward(const LocalKernels& kernel, const LocalShape& shape, const Planes* x, Planes* dx,
                   const std::vector<int64_t>& dx_offsets)
      : kernel_(kernel),
        shape_(shape),
        x_(x),
        dx_(dx),
        geometry_{shape.group_outputs(), shape.depth(), block_of(kernel, shape), dx_offsets.data()},
        dy_(static_cast<size_t>(shape.outputs * geometry_.block)),
        stride_((shape.group * shape.depth() + kQuad + 15) / 16 * 16 + 16),
        windows_(static_cast<size_t>(x != nullptr ? geometry_.block * stride_ : 0)) {}

  // weight, dweight and bias_sums are those of the location; the last two may be null.
  void add(int64_t location, const float* weight, const float* dy, float* dweight,
           double* bias_sums) {
    const LocalShape& s = shape_;
    const int64_t block = geometry_.block;
    for (int64_t first = 0; first < s.images; first += block) {
      const int64_t images = std::min(block, s.images - first);
      for (int64_t n = 0; n < images; ++n) {
        const float* from = dy + ((first + n) * s.locations() + location) * s.outputs;
        for (int64_t k = 0; k < s.outputs; ++k) dy_[static_cast<size_t>(k * block + n)] = from[k];
      }
      if (bias_sums != nullptr) add_bias(images, bias_sums);
      if (dx_ != nullptr) add_dx(first / block, location, weight);
      if (dweight != nullptr) add_dweight(first, images, location, dweight);
    }
  }

 private:
  void add_bias(int64_t images, double* sums) const {
    for (int64_t k = 0; k < shape_.outputs; ++k) {
      const float* dy = dy_.data() + k * geometry_.block;
      for (int64_t n = 0; n < images; ++n) sums[k] += static_cast<double>(dy[n]);
    }
  }

  void add_dx(int64_t block, int64_t location, const float* weight) {
    const int64_t channels = shape_.channels / shape_.group;
    float* window = dx_->data() + block * dx_->block_stride + window_of(shape_, *dx_, location);
    for (int64_t group = 0; group < shape_.group; ++group) {
      const int64_t output = group * geometry_.outputs;
      kernel_.spread(geometry_, weight + output * geometry_.depth,
                     dy_.data() + output * geometry_.block,
                     window + group * channels * dx_->plane_stride);
    }
  }

  void add_dweight(int64_t first, int64_t images, int64_t location, float* dweight) {
    const float* window = x_->data() + first * x_->block_stride + window_of(shape_, *x_, location);
    for (int64_t n = 0; n < images; ++n) {
      gather(window + n * x_->block_stride, windows_.data() + n * stride_);
    }
    for (int64_t group = 0; group < shape_.group; ++group) {
      const int64_t output = group * geometry_.outputs;
      kernel_.accumulate(geometry_, images, dy_.data() + output * geometry_.block,
                         windows_.data() + group * geometry_.depth, stride_,
                         dweight + output * geometry_.depth);
    }
  }

  // Copies the window of an image into the order of the weights.
  void gather(const float* window, float* to) const {
    const auto [rows, columns] = shape_.kernel;
    const int64_t row_stride = x_->row_stride;
    for (int64_t c = 0; c < shape_.channels; ++c) {
      const float* from = window + c * x_->plane_stride;
      for (int64_t row = 0; row < rows; ++row) {
        // What is copied beyond the row is overwritten by the next one.
        for (int64_t col = 0; col < columns; col += kQuad) {
          std::memcpy(to + col, from + col, kQuad * sizeof(float));
        }
        to += columns;
        from += row_stride;
      }
    }
  }

  const LocalKernels& kernel_;
  const LocalShape& shape_;
  const Planes* x_;
  Planes* dx_;
  LocalGeometry geometry_;
  std::vector<float> dy_;  // (outputs, block); nobody looks at images that a block lacks
  // From one window to the next. Not a power of two, which would put all of them in the same lines
  // of the cache.
  int64_t stride_;
  std::vector<float> windows_;  // of each image of a block
};

// Calls f for the locations of a tile of a color, in their order.
template <typename F>
void for_locations(const LocalShape& s, const LocalTiles& tiles, int64_t color, int64_t tile, F f) {
  const int64_t across = tiles.across(color);
  const int64_t first_row = (tile / across * 2 + tiles.row_parity(color)) * tiles.size[0];
  const int64_t first_column = (tile % across * 2 + tiles.column_parity(color)) * tiles.size[1];
  const int64_t last_row = std::min(first_row + tiles.size[0], s.y[0]);
  const int64_t last_column = std::min(first_column + tiles.size[1], s.y[1]);
  for (int64_t row = first_row; row < last_row; ++row) {
    for (int64_t col = first_column; col < last_column; ++col) f(row * s.y[1] + col);
  }
}

// dbias += the sums of dy at each location, over all locations if there is one bias per channel.
void add_bias_sums(const LocalShape& s, const std::vector<double>& sums, float* dbias) {
  if (s.bias_per_location) {
    for (size_t i = 0; i < sums.size(); ++i) dbias[i] += static_cast<float>(sums[i]);
    return;
  }
  for (int64_t k = 0; k < s.outputs; ++k) {
    double total = 0;
    for (int64_t location = 0; location < s.locations(); ++location) {
      total += sums[static_cast<size_t>(location * s.outputs + k)];
    }
    dbias[k] += static_cast<float>(total);
  }
}

}  // namespace

void cpu::local_forward(const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor& y,
                        const LocalAttrs& attrs) {
  const LocalShape s = make_local_shape("local_forward", x, weight, bias, y, attrs);
  if (s.images == 0) return;
  const LocalKernels& kernel = kernels();
  const int64_t block = block_of(kernel, s);
  const Planes planes = make_planes(s, block, x.data());
  const std::vector<int64_t> offsets = window_offsets(s, planes);
  const LocalGeometry geometry{s.group_outputs(), s.depth(), block, offsets.data()};
  const int64_t channels = s.channels / s.group;
#pragma omp parallel
  {
    std::vector<float> out(static_cast<size_t>(s.outputs * block));
#pragma omp for schedule(static)
    for (int64_t location = 0; location < s.locations(); ++location) {
      const float* filters = weight.data() + location * s.outputs * s.depth();
      const float* biases = nullptr;
      if (bias != nullptr) biases = bias->data() + (s.bias_per_location ? location * s.outputs : 0);
      for (int64_t first = 0; first < s.images; first += block) {
        const float* window =
            planes.data() + first / block * planes.block_stride + window_of(s, planes, location);
        for (int64_t group = 0; group < s.group; ++group) {
          const int64_t output = group * geometry.outputs;
          kernel.correlate(geometry, filters + output * s.depth(),
                           window + group * channels * planes.plane_stride,
                           biases != nullptr ? biases + output : nullptr,
                           out.data() + output * block);
        }
        for (int64_t n = 0; n < std::min(block, s.images - first); ++n) {
          float* to = y.data() + ((first + n) * s.locations() + location) * s.outputs;
          for (int64_t k = 0; k < s.outputs; ++k) to[k] = out[static_cast<size_t>(k * block + n)];
        }
      }
    }
  }
}

void cpu::local_backward(const Tensor& x, const Tensor& weight, const Tensor& dy, const Tensor* dx,
                         const Tensor* dweight, const Tensor* dbias, const LocalAttrs& attrs,
                         bool overwrite) {
  const char* op = "local_backward";
  const LocalShape s = make_local_shape(op, x, weight, dbias, dy, attrs);
  check_window_gradients(op, x, weight, dx, dweight);
  if (s.images == 0) {
    if (overwrite && dweight != nullptr) fill(*dweight, 0);
    return;
  }
  const LocalKernels& kernel = kernels();
  const LocalTiles tiles = make_local_tiles(s);
  std::optional<Planes> x_planes;
  std::optional<Planes> dx_planes;
  std::vector<int64_t> dx_offsets;
  std::vector<double> bias_sums;
  if (dweight != nullptr) x_planes = make_planes(s, 1, x.data());
  if (dx != nullptr) {
    dx_planes.emplace(s, block_of(kernel, s));
    dx_offsets = window_offsets(s, *dx_planes);
  }
  if (dbias != nullptr) bias_sums.resize(static_cast<size_t>(s.locations() * s.outputs));
#pragma omp parallel
  {
    LocationBackward backward(kernel, s, x_planes ? &*x_planes : nullptr,
                              dx_planes ? &*dx_planes : nullptr, dx_offsets);
    for (int64_t color = 0; color < LocalTiles::kColors; ++color) {
#pragma omp for schedule(static)
      for (int64_t tile = 0; tile < tiles.down(color) * tiles.across(color); ++tile) {
        for_locations(s, tiles, color, tile, [&](int64_t location) {
          const int64_t first = location * s.outputs;
          float* filters = dweight != nullptr ? dweight->data() + first * s.depth() : nullptr;
          // Cleared here, where they are added to next, and not before, they pass through the
          // caches once.
          if (overwrite && filters != nullptr) std::fill_n(filters, s.outputs * s.depth(), 0.0f);
          backward.add(location, weight.data() + first * s.depth(), dy.data(), filters,
                       dbias != nullptr ? bias_sums.data() + first : nullptr);
        });
      }
    }
  }
  if (dx != nullptr) store_planes(s, *dx_planes, dx->data());
  if (dbias != nullptr) add_bias_sums(s, bias_sums, dbias->data());
}

}  // namespace drml
