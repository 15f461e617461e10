// The arithmetic of the region layer on one patch, compiled once per instruction set.
//
// The convolution keeps kTile pixels x two vectors of output channels in registers. In a
// channels-last tile the inputs of one kernel row, (kx, channel), are contiguous, so its inner loop
// is a plain product of a row of pixels with packed weights. The weight gradient is the same loop
// turned: it keeps kTaps inputs x two vectors in registers and runs over the pixels.
#include "cpu/region_kernel.h"

#if defined(DRML_ISA_avx512)
#define DRML_UNROLL _Pragma("GCC unroll 16")
#else
#define DRML_UNROLL _Pragma("GCC unroll 8")
#endif

namespace drml::DRML_ISA {
namespace {

constexpr int kBlock = 2 * kLanes;
// Two accumulators each; two weight vectors and a broadcast need registers as well.
constexpr int kTile = (kRegisters - 4) / 2;
constexpr int kTaps = 6;
// Rows of a patch that the weight gradient visits together, so that they stay in the first cache.
constexpr int64_t kRowsTogether = 4;

// Calls f(offset, is_vector) over the channels: whole vectors first, then one by one.
template <typename Vector, typename Scalar>
inline void for_channels(int64_t channels, Vector vector, Scalar scalar) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) vector(c);
  for (; c < channels; ++c) scalar(c);
}

void moments(const RegionGeometry& g, const float* x, float* mean, float* squares) {
  const float scale = 1.0f / static_cast<float>(g.patch_h * g.patch_w);
  for_channels(
      g.channels,
      [&](int64_t c) {
        Vec sum{};
        for (int64_t row = 0; row < g.patch_h; ++row) {
          const float* p = x + row * g.row_stride + c;
          for (int64_t col = 0; col < g.patch_w; ++col) sum += load(p + col * g.channels);
        }
        const Vec average = sum * broadcast(scale);
        Vec total{};
        for (int64_t row = 0; row < g.patch_h; ++row) {
          const float* p = x + row * g.row_stride + c;
          for (int64_t col = 0; col < g.patch_w; ++col) {
            const Vec d = load(p + col * g.channels) - average;
            total += d * d;
          }
        }
        store(mean + c, average);
        store(squares + c, total);
      },
      [&](int64_t c) {
        float sum = 0;
        for (int64_t row = 0; row < g.patch_h; ++row) {
          const float* p = x + row * g.row_stride + c;
          for (int64_t col = 0; col < g.patch_w; ++col) sum += p[col * g.channels];
        }
        mean[c] = sum * scale;
        float total = 0;
        for (int64_t row = 0; row < g.patch_h; ++row) {
          const float* p = x + row * g.row_stride + c;
          for (int64_t col = 0; col < g.patch_w; ++col) {
            const float d = p[col * g.channels] - mean[c];
            total += d * d;
          }
        }
        squares[c] = total;
      });
}

void normalize(const RegionGeometry& g, const float* x, const float* mean, const float* scale,
               float* tile) {
  for (int64_t row = 0; row < g.patch_h; ++row) {
    const float* from = x + row * g.row_stride;
    float* to = tile + (row + g.pad) * g.tile_row() + g.pad * g.depth;
    for (int64_t col = 0; col < g.patch_w; ++col, from += g.channels, to += g.depth) {
      for_channels(
          g.channels,
          [&](int64_t c) {
            const Vec z = (load(from + c) - load(mean + c)) * load(scale + c);
            store(to + c, z > 0.0f ? z : Vec{});
          },
          [&](int64_t c) {
            const float z = (from[c] - mean[c]) * scale[c];
            to[c] = z > 0 ? z : 0;
          });
    }
  }
}

template <int kPixels>
inline void convolve_pixels(const RegionGeometry& g, const float* tile, const float* packed,
                            const float* bias, const float* residual, float* out, int64_t outputs) {
  Vec sum[kPixels][2] = {};
  const int64_t taps = g.kernel * g.depth;
  for (int64_t ky = 0; ky < g.kernel; ++ky) {
    const float* row = tile + ky * g.tile_row();
    const float* weight = packed + ky * taps * kBlock;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const Vec w0 = load(weight + tap * kBlock);
      const Vec w1 = load(weight + tap * kBlock + kLanes);
      DRML_UNROLL
      for (int pixel = 0; pixel < kPixels; ++pixel) {
        const Vec input = broadcast(row[pixel * g.depth + tap]);
        sum[pixel][0] += input * w0;
        sum[pixel][1] += input * w1;
      }
    }
  }
  for (int pixel = 0; pixel < kPixels; ++pixel) {
    const int64_t from = pixel * g.channels;
    if (outputs == kBlock) {
      for (int half = 0; half < 2; ++half) {
        const int64_t at = half * kLanes;
        Vec value = sum[pixel][half];
        if (bias != nullptr) value += load(bias + at);
        if (residual != nullptr) value += load(residual + from + at);
        store(out + from + at, value);
      }
    } else {
      float values[kBlock];
      store(values, sum[pixel][0]);
      store(values + kLanes, sum[pixel][1]);
      for (int64_t c = 0; c < outputs; ++c) {
        out[from + c] = values[c] + (bias != nullptr ? bias[c] : 0.0f) +
                        (residual != nullptr ? residual[from + c] : 0.0f);
      }
    }
  }
}

using ConvolvePixels = void (*)(const RegionGeometry&, const float*, const float*, const float*,
                                const float*, float*, int64_t);

template <int kPixels>
void fill_table(ConvolvePixels* table) {
  table[kPixels] = &convolve_pixels<kPixels>;
  if constexpr (kPixels > 1) fill_table<kPixels - 1>(table);
}

void convolve(const RegionGeometry& g, const float* tile, const float* packed, const float* bias,
              const float* residual, float* out) {
  ConvolvePixels table[kTile + 1];
  fill_table<kTile>(table);
  // Equal parts of a row, as few as the registers allow.
  const int64_t parts = (g.patch_w + kTile - 1) / kTile;
  for (int64_t first = 0; first < g.channels; first += kBlock) {
    const int64_t outputs = g.channels - first < kBlock ? g.channels - first : kBlock;
    const float* weight = packed + first * g.kernel * g.kernel * g.depth;
    for (int64_t row = 0; row < g.patch_h; ++row) {
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t col = g.patch_w * part / parts;
        const int64_t pixels = g.patch_w * (part + 1) / parts - col;
        const int64_t at = row * g.row_stride + col * g.channels + first;
        table[pixels](g, tile + row * g.tile_row() + col * g.depth, weight,
                      bias != nullptr ? bias + first : nullptr,
                      residual != nullptr ? residual + at : nullptr, out + at, outputs);
      }
    }
  }
}

template <int kCount>
inline void correlate_taps(const RegionGeometry& g, const float* tile, const float* dy_tile,
                           int64_t rows, float* packed) {
  Vec sum[kCount][2];
  DRML_UNROLL
  for (int tap = 0; tap < kCount; ++tap) {
    sum[tap][0] = load(packed + tap * kBlock);
    sum[tap][1] = load(packed + tap * kBlock + kLanes);
  }
  for (int64_t row = 0; row < rows; ++row) {
    const float* input = tile + row * g.tile_row();
    const float* dy = dy_tile + row * g.tile_row();
    for (int64_t col = 0; col < g.patch_w; ++col, input += g.depth, dy += g.depth) {
      const Vec dy0 = load(dy);
      const Vec dy1 = load(dy + kLanes);
      DRML_UNROLL
      for (int tap = 0; tap < kCount; ++tap) {
        const Vec value = broadcast(input[tap]);
        sum[tap][0] += value * dy0;
        sum[tap][1] += value * dy1;
      }
    }
  }
  DRML_UNROLL
  for (int tap = 0; tap < kCount; ++tap) {
    store(packed + tap * kBlock, sum[tap][0]);
    store(packed + tap * kBlock + kLanes, sum[tap][1]);
  }
}

void correlate(const RegionGeometry& g, const float* tile, const float* dy_tile, float* packed) {
  const int64_t taps = g.kernel * g.depth;
  const float* interior = dy_tile + g.pad * g.tile_row() + g.pad * g.depth;
  for (int64_t row = 0; row < g.patch_h; row += kRowsTogether) {
    const int64_t rows = g.patch_h - row < kRowsTogether ? g.patch_h - row : kRowsTogether;
    for (int64_t first = 0; first < g.depth; first += kBlock) {
      const float* dy = interior + row * g.tile_row() + first;
      for (int64_t ky = 0; ky < g.kernel; ++ky) {
        const float* input = tile + (row + ky) * g.tile_row();
        float* gradient = packed + first * g.kernel * taps + ky * taps * kBlock;
        int64_t tap = 0;
        for (; tap + kTaps <= taps; tap += kTaps) {
          correlate_taps<kTaps>(g, input + tap, dy, rows, gradient + tap * kBlock);
        }
        for (; tap < taps; ++tap) {
          correlate_taps<1>(g, input + tap, dy, rows, gradient + tap * kBlock);
        }
      }
    }
  }
}

void mask(const RegionGeometry& g, const float* tile, float* dz, double* sum, double* sum_z) {
  const float* interior = tile + g.pad * g.tile_row() + g.pad * g.depth;
  for_channels(
      g.channels,
      [&](int64_t c) {
        Vec total{};
        Vec total_z{};
        for (int64_t row = 0; row < g.patch_h; ++row) {
          for (int64_t col = 0; col < g.patch_w; ++col) {
            const Vec z = load(interior + row * g.tile_row() + col * g.depth + c);
            float* at = dz + row * g.row_stride + col * g.channels + c;
            const Vec kept = z > 0.0f ? load(at) : Vec{};
            store(at, kept);
            total += kept;
            total_z += kept * z;
          }
        }
        for (int lane = 0; lane < kLanes; ++lane) {
          sum[c + lane] += static_cast<double>(total[lane]);
          sum_z[c + lane] += static_cast<double>(total_z[lane]);
        }
      },
      [&](int64_t c) {
        float total = 0;
        float total_z = 0;
        for (int64_t row = 0; row < g.patch_h; ++row) {
          for (int64_t col = 0; col < g.patch_w; ++col) {
            const float z = interior[row * g.tile_row() + col * g.depth + c];
            float* at = dz + row * g.row_stride + col * g.channels + c;
            if (!(z > 0)) *at = 0;
            total += *at;
            total_z += *at * z;
          }
        }
        sum[c] += static_cast<double>(total);
        sum_z[c] += static_cast<double>(total_z);
      });
}

void combine(const RegionGeometry& g, const float* x, const float* dy, const float* mean,
             const float* scale, const float* mean_dz, const float* mean_dz_z, float* dx) {
  for (int64_t row = 0; row < g.patch_h; ++row) {
    for (int64_t col = 0; col < g.patch_w; ++col) {
      const int64_t at = row * g.row_stride + col * g.channels;
      for_channels(
          g.channels,
          [&](int64_t c) {
            const Vec z = (load(x + at + c) - load(mean + c)) * load(scale + c);
            const Vec dz = load(dx + at + c) - load(mean_dz + c) - z * load(mean_dz_z + c);
            store(dx + at + c, load(dy + at + c) + load(scale + c) * dz);
          },
          [&](int64_t c) {
            const float z = (x[at + c] - mean[c]) * scale[c];
            const float dz = dx[at + c] - mean_dz[c] - z * mean_dz_z[c];
            dx[at + c] = dy[at + c] + scale[c] * dz;
          });
    }
  }
}

}  // namespace

const RegionKernels region_kernels = {kBlock,    moments, normalize, convolve,
                                      correlate, mask,    combine};

}  // namespace drml::DRML_ISA
