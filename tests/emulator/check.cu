// A program without bugs: check NAME runs one part of it.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>

#include "testing.h"

namespace {

// Kernels ----------------------------------------------------------------------------------------

constexpr int kTile = 4;

// A thread computes one number of c = a * b, square matrices of `size` tiles.
__global__ void multiply_kernel(int size, const float* a, const float* b, float* c) {
  __shared__ float a_tile[kTile][kTile];
  __shared__ float b_tile[kTile][kTile];
  const int row = blockIdx.y * kTile + threadIdx.y;
  const int col = blockIdx.x * kTile + threadIdx.x;
  const int width = size * kTile;
  float sum = 0;
  for (int tile = 0; tile < size; ++tile) {
    a_tile[threadIdx.y][threadIdx.x] = a[row * width + tile * kTile + threadIdx.x];
    b_tile[threadIdx.y][threadIdx.x] = b[(tile * kTile + threadIdx.y) * width + col];
    __syncthreads();
    for (int k = 0; k < kTile; ++k) sum += a_tile[threadIdx.y][k] * b_tile[k][threadIdx.x];
    __syncthreads();
  }
  c[row * width + col] = sum;
}

// A block adds up x: shuffles within warps, then shared memory.
__global__ void sum_kernel(int64_t n, const float* x, float* sum) {
  DRML_DYNAMIC_SHARED(double, warp_sums);
  double value = 0;
  DRML_GRID_LOOP(i, n) value += x[i];
  for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) value += warp_sums[warp];
  sum[blockIdx.x] = static_cast<float>(value);
}

__global__ void count_kernel(int64_t n, const int* x, int* counts, unsigned long long* lowest) {
  DRML_GRID_LOOP(i, n) {
    atomicAdd(&counts[x[i]], 1);
    if (x[i] == 2) atomicMin(lowest, static_cast<unsigned long long>(i));
  }
}

// Each thread of a grid in three dimensions writes where it is.
__global__ void places_kernel(int* x) {
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const int place = block * blockDim.x * blockDim.y * blockDim.z + thread;
  x[place] = place;
}

constexpr int kLaneResults = 8;

// What every lane of a warp and a half sees of the others.
__global__ void lanes_kernel(int* x) {
  __shared__ int shared[48];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const unsigned all = thread < 32 ? 0xffffffffu : 0x0000ffffu;
  int* result = x + thread * kLaneResults;
  result[0] = __shfl_sync(all, lane, 3);
  result[1] = __shfl_up_sync(all, lane, 2);
  result[2] = __shfl_down_sync(all, lane, 2, 8);
  result[3] = __shfl_xor_sync(all, lane, 5);
  result[4] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
  result[5] = __any_sync(all, lane == 40) * 2 + __all_sync(all, lane < 40);
  // Halves of a warp go their own ways.
  if (lane < 16) {
    shared[thread] = lane;
    __syncwarp(0x0000ffffu);
    result[6] = shared[thread ^ 1];
  } else {
    result[6] = __shfl_sync(0xffff0000u, lane, 16);
  }
  // Lanes that have returned are not waited for.
  if (lane == 7) return;
  result[7] = static_cast<int>(__ballot_sync(all, 1));
}

void check_kernels() {
  const int size = 3;
  const int width = size * kTile;
  std::vector<float> a(width * width);
  std::vector<float> b(width * width);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = std::sin(static_cast<float>(i));
    b[i] = std::cos(static_cast<float>(i));
  }
  const Array<float> a_device(a);
  const Array<float> b_device(b);
  const Array<float> c_device(a.size());
  DRML_KERNEL_CALL(multiply_kernel, dim3(size, size), dim3(kTile, kTile), 0, nullptr)
  (size, a_device, b_device, c_device);
  const std::vector<float> c = c_device.get();
  for (int row = 0; row < width; ++row) {
    for (int col = 0; col < width; ++col) {
      double want = 0;
      for (int k = 0; k < width; ++k) want += double{a[row * width + k]} * b[k * width + col];
      EXPECT(std::abs(c[row * width + col] - want) < 1e-5);
    }
  }

  const Array<float> sums_device(2);
  DRML_KERNEL_CALL(sum_kernel, 2, 96, 3 * sizeof(double), nullptr)
  (a.size(), a_device, sums_device);
  const std::vector<float> sums = sums_device.get();
  double want = 0;
  for (const float value : a) want += value;
  EXPECT(std::abs(sums[0] + sums[1] - want) < 1e-5);

  std::vector<int> labels(100);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int>((i * i + 1) % 5);
  const Array<int> labels_device(labels);
  const Array<int> counts_device(std::vector<int>(5));
  const Array<unsigned long long> lowest_device(std::vector<unsigned long long>(1, ~0ull));
  DRML_KERNEL_CALL(count_kernel, 2, 16, 0, nullptr)
  (labels.size(), labels_device, counts_device, lowest_device);
  EXPECT((counts_device.get() == std::vector<int>{40, 20, 40, 0, 0}));
  EXPECT(lowest_device.get()[0] == 1);

  const Array<int> places_device(2 * 3 * 2 * 3 * 2 * 2);
  DRML_KERNEL_CALL(places_kernel, dim3(2, 3, 2), dim3(3, 2, 2), 0, nullptr)(places_device);
  const std::vector<int> places = places_device.get();
  for (size_t i = 0; i < places.size(); ++i) EXPECT(places[i] == static_cast<int>(i));

  const Array<int> lanes_device(48 * kLaneResults);
  DRML_KERNEL_CALL(lanes_kernel, 1, 48, 0, nullptr)(lanes_device);
  const std::vector<int> lanes = lanes_device.get();
  for (int thread = 0; thread < 48; ++thread) {
    const int lane = thread % 32;
    const unsigned all = thread < 32 ? 0xffffffffu : 0x0000ffffu;
    const int* result = lanes.data() + thread * kLaneResults;
    EXPECT(result[0] == 3);
    EXPECT(result[1] == (lane < 2 ? lane : lane - 2));
    EXPECT(result[2] == (lane % 8 < 6 ? lane + 2 : lane));
    EXPECT(result[3] == (lane ^ 5));
    EXPECT(static_cast<unsigned>(result[4]) == (0x49249249u & all));
    EXPECT(result[5] == 1);
    EXPECT(result[6] == (lane < 16 ? lane ^ 1 : 16));
    if (lane != 7) EXPECT(static_cast<unsigned>(result[7]) == (all & ~(1u << 7)));
  }

  // The same in any order of threads and blocks.
  std::printf("%a %a %a\n", c[5], sums[0], sums[1]);
}

__global__ void add_kernel(float* x, float value) { x[threadIdx.x] += value; }

__global__ void empty_kernel() {}

void launch_add(float* x, float value, cudaStream_t stream = nullptr) {
  DRML_KERNEL_CALL(add_kernel, 1, 4, 0, stream)(x, value);
}

void check_launches() {
  const Array<float> x(std::vector<float>(4));
  launch_add(x, 1);
  EXPECT_STATUS(cudaSuccess, cudaGetLastError());
  const auto status = [&](dim3 grid, dim3 block, size_t shared_bytes) {
    DRML_KERNEL_CALL(add_kernel, grid, block, shared_bytes, nullptr)(x, 1);
    EXPECT(cudaPeekAtLastError() == cudaPeekAtLastError());
    return cudaGetLastError();
  };
  EXPECT_STATUS(cudaErrorInvalidConfiguration, status(1, 0, 0));
  EXPECT_STATUS(cudaErrorInvalidConfiguration, status(0, 4, 0));
  EXPECT_STATUS(cudaErrorInvalidConfiguration, status(1, 1025, 0));
  EXPECT_STATUS(cudaErrorInvalidConfiguration, status(1, dim3(1, 1, 65), 0));
  EXPECT_STATUS(cudaErrorInvalidConfiguration, status(dim3(1, 65536), 4, 0));
  EXPECT_STATUS(cudaErrorInvalidValue, status(1, 4, 48 * 1024 + 1));
  EXPECT_STATUS(cudaSuccess, cudaGetLastError());
  EXPECT(x.get() == std::vector<float>(4, 1.0f));
  EXPECT_STATUS(cudaSuccess, status(1, 4, 48 * 1024));
  EXPECT(std::strcmp(cudaGetErrorName(cudaErrorInvalidConfiguration),
                     "cudaErrorInvalidConfiguration") == 0);
  EXPECT(std::strcmp(cudaGetErrorString(cudaErrorInvalidConfiguration),
                     "invalid configuration argument") == 0);
}

// Memory -----------------------------------------------------------------------------------------

void check_memory() {
  size_t free_before = 0;
  size_t free_now = 0;
  size_t total = 0;
  EXPECT_STATUS(cudaSuccess, cudaMemGetInfo(&free_before, &total));
  EXPECT(free_before == total && total == size_t{1} << 20);
  char* x = nullptr;
  EXPECT_STATUS(cudaSuccess, cudaMalloc(&x, 1000));
  EXPECT(reinterpret_cast<uintptr_t>(x) % 256 == 0);
  EXPECT_STATUS(cudaSuccess, cudaMemGetInfo(&free_now, &total));
  EXPECT(free_before - free_now == 1000);
  char* too_large = x;
  EXPECT_STATUS(cudaErrorMemoryAllocation, cudaMalloc(&too_large, total));
  EXPECT_STATUS(cudaErrorMemoryAllocation, cudaGetLastError());
  EXPECT(too_large == nullptr);

  // Memory that nobody has set is NaN.
  float values[4] = {};
  EXPECT_STATUS(cudaSuccess, cudaMemcpy(values, x, sizeof(values), cudaMemcpyDeviceToHost));
  EXPECT(std::isnan(values[0]) && std::isnan(values[3]));

  // Copies stay within an allocation, and go where they say.
  char host[1000] = {};
  EXPECT_STATUS(cudaSuccess, cudaMemset(x, 7, 1000));
  EXPECT_STATUS(cudaSuccess, cudaMemcpy(host + 3, x + 3, 6, cudaMemcpyDeviceToHost));
  EXPECT(host[2] == 0 && host[3] == 7 && host[8] == 7 && host[9] == 0);
  EXPECT_STATUS(cudaSuccess, cudaMemcpy(x + 500, x, 500, cudaMemcpyDeviceToDevice));
  EXPECT_STATUS(cudaSuccess, cudaMemcpy(host, x, 1000, cudaMemcpyDefault));
  EXPECT(host[999] == 7);
  EXPECT_STATUS(cudaErrorInvalidValue, cudaMemcpy(host, x + 1, 1000, cudaMemcpyDeviceToHost));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaMemcpy(x + 1, host, 1000, cudaMemcpyHostToDevice));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaMemcpy(host, x, 10, cudaMemcpyHostToDevice));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaMemcpy(x, host, 10, cudaMemcpyDeviceToDevice));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaMemset(x + 1, 0, 1000));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaMemset(host, 0, 10));

  char* pinned = nullptr;
  EXPECT_STATUS(cudaSuccess, cudaHostAlloc(&pinned, 100, cudaHostAllocDefault));
  pinned[99] = 5;
  EXPECT_STATUS(cudaSuccess, cudaMemcpyAsync(x, pinned, 100, cudaMemcpyHostToDevice));
  EXPECT_STATUS(cudaSuccess, cudaMemcpyAsync(host, x, 100, cudaMemcpyDeviceToHost));
  EXPECT(host[99] == 5);

  cudaPointerAttributes attributes;
  EXPECT_STATUS(cudaSuccess, cudaPointerGetAttributes(&attributes, x + 10));
  EXPECT(attributes.type == cudaMemoryTypeDevice && attributes.device == 0);
  EXPECT_STATUS(cudaSuccess, cudaPointerGetAttributes(&attributes, pinned));
  EXPECT(attributes.type == cudaMemoryTypeHost);
  EXPECT_STATUS(cudaSuccess, cudaPointerGetAttributes(&attributes, host));
  EXPECT(attributes.type == cudaMemoryTypeUnregistered);

  EXPECT_STATUS(cudaErrorInvalidValue, cudaFree(x + 1));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaFree(pinned));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaFreeHost(x));
  EXPECT_STATUS(cudaSuccess, cudaFreeHost(pinned));
  EXPECT_STATUS(cudaSuccess, cudaFree(x));
  EXPECT_STATUS(cudaErrorInvalidValue, cudaFree(x));
  EXPECT_STATUS(cudaSuccess, cudaFree(nullptr));
  EXPECT_STATUS(cudaSuccess, cudaMemGetInfo(&free_now, &total));
  EXPECT(free_now == total);
}

// Streams and graphs -----------------------------------------------------------------------------

void check_streams() {
  cudaStream_t stream = nullptr;
  cudaEvent_t start = nullptr;
  cudaEvent_t end = nullptr;
  EXPECT_STATUS(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  EXPECT_STATUS(cudaSuccess, cudaEventCreate(&start));
  EXPECT_STATUS(cudaSuccess, cudaEventCreate(&end));
  EXPECT_STATUS(cudaSuccess, cudaStreamWaitEvent(stream, start));
  EXPECT_STATUS(cudaSuccess, cudaEventRecord(start, stream));
  float milliseconds = -1;
  EXPECT_STATUS(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&milliseconds, start, end));
  const Array<float> x(std::vector<float>(4));
  launch_add(x, 1, stream);
  EXPECT_STATUS(cudaSuccess, cudaEventRecord(end, stream));
  EXPECT_STATUS(cudaSuccess, cudaEventQuery(end));
  EXPECT_STATUS(cudaSuccess, cudaStreamQuery(stream));
  EXPECT_STATUS(cudaSuccess, cudaEventSynchronize(end));
  EXPECT_STATUS(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_STATUS(cudaSuccess, cudaDeviceSynchronize());
  EXPECT_STATUS(cudaSuccess, cudaEventElapsedTime(&milliseconds, start, end));
  EXPECT(milliseconds >= 0);
  EXPECT_STATUS(cudaSuccess, cudaEventDestroy(end));
  EXPECT_STATUS(cudaSuccess, cudaEventCreateWithFlags(&end, cudaEventDisableTiming));
  EXPECT_STATUS(cudaSuccess, cudaEventRecord(end, stream));
  EXPECT_STATUS(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&milliseconds, start, end));
  EXPECT_STATUS(cudaSuccess, cudaEventDestroy(start));
  EXPECT_STATUS(cudaSuccess, cudaEventDestroy(end));
  EXPECT_STATUS(cudaSuccess, cudaStreamDestroy(stream));
}

// A captured stream; ends the capture with what it expects.
class Capture {
 public:
  explicit Capture(unsigned int flags = cudaStreamNonBlocking,
                   cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
    EXPECT_STATUS(cudaSuccess, cudaStreamCreateWithFlags(&stream, flags));
    EXPECT_STATUS(cudaSuccess, cudaStreamBeginCapture(stream, mode));
  }
  ~Capture() {
    if (graph != nullptr) EXPECT_STATUS(cudaSuccess, cudaGraphDestroy(graph));
    EXPECT_STATUS(cudaSuccess, cudaStreamDestroy(stream));
  }

  cudaStreamCaptureStatus status() const {
    cudaStreamCaptureStatus result = cudaStreamCaptureStatusNone;
    EXPECT_STATUS(cudaSuccess, cudaStreamIsCapturing(stream, &result));
    return result;
  }
  void end(cudaError_t expected) {
    EXPECT_STATUS(expected, cudaStreamEndCapture(stream, &graph));
    EXPECT((graph == nullptr) == (expected != cudaSuccess));
    EXPECT(status() == cudaStreamCaptureStatusNone);
  }

  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
};

void check_graphs() {
  const Array<float> x(std::vector<float>(4));
  const Array<float> y(std::vector<float>(4));
  const auto values = [](float value) { return std::vector<float>(4, value); };
  {
    Capture capture;
    EXPECT(capture.status() == cudaStreamCaptureStatusActive);
    float step = 1;
    EXPECT_STATUS(cudaSuccess, cudaMemsetAsync(y, 0, 4 * sizeof(float), capture.stream));
    launch_add(x, step, capture.stream);
    launch_add(y, 5, capture.stream);
    step = 2;
    launch_add(x, step, capture.stream);
    EXPECT_STATUS(cudaSuccess,
                  cudaMemcpyAsync(y, x, sizeof(float), cudaMemcpyDeviceToDevice, capture.stream));
    EXPECT_STATUS(cudaSuccess, cudaGetLastError());
    capture.end(cudaSuccess);
    EXPECT(x.get() == values(0) && y.get() == values(0));

    cudaGraphExec_t exec = nullptr;
    EXPECT_STATUS(cudaSuccess, cudaGraphInstantiate(&exec, capture.graph, 0));
    EXPECT_STATUS(cudaSuccess, cudaGraphLaunch(exec, capture.stream));
    EXPECT(x.get() == values(3) && (y.get() == std::vector<float>{3, 5, 5, 5}));
    EXPECT_STATUS(cudaSuccess, cudaGraphLaunch(exec, capture.stream));
    EXPECT(x.get() == values(6) && (y.get() == std::vector<float>{6, 5, 5, 5}));
    EXPECT_STATUS(cudaSuccess, cudaGraphExecDestroy(exec));
    EXPECT_STATUS(cudaSuccess, cudaGraphInstantiate(&exec, capture.graph, nullptr, nullptr, 0));
    EXPECT_STATUS(cudaSuccess, cudaGraphExecDestroy(exec));
    EXPECT_STATUS(cudaErrorIllegalState, cudaStreamEndCapture(capture.stream, &capture.graph));
  }
  cudaEvent_t before = nullptr;
  cudaEvent_t inside = nullptr;
  EXPECT_STATUS(cudaSuccess, cudaEventCreateWithFlags(&before, cudaEventDisableTiming));
  EXPECT_STATUS(cudaSuccess, cudaEventCreateWithFlags(&inside, cudaEventDisableTiming));
  EXPECT_STATUS(cudaSuccess, cudaEventRecord(before));

  // What waits or allocates ends a capture, and the stream can be used again.
  float* memory = nullptr;
  {
    Capture capture;
    EXPECT_STATUS(cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(capture.stream));
    EXPECT(capture.status() == cudaStreamCaptureStatusInvalidated);
    launch_add(x, 1, capture.stream);
    EXPECT_STATUS(cudaErrorStreamCaptureInvalidated, cudaGetLastError());
    capture.end(cudaErrorStreamCaptureInvalidated);
    launch_add(x, 1, capture.stream);
    EXPECT(x.get() == values(7));
  }
  {
    Capture capture;
    EXPECT_STATUS(cudaErrorStreamCaptureUnsupported, cudaMalloc(&memory, 4));
    capture.end(cudaErrorStreamCaptureInvalidated);
  }
  {
    Capture capture;
    EXPECT_STATUS(cudaErrorStreamCaptureUnsupported, cudaDeviceSynchronize());
    capture.end(cudaErrorStreamCaptureInvalidated);
  }
  {
    Capture capture;
    EXPECT_STATUS(cudaErrorStreamCaptureUnsupported, cudaMemset(x, 0, 4));
    capture.end(cudaErrorStreamCaptureInvalidated);
  }
  {
    Capture capture(cudaStreamNonBlocking, cudaStreamCaptureModeThreadLocal);
    std::thread([&] { EXPECT_STATUS(cudaSuccess, cudaMalloc(&memory, 4)); }).join();
    std::thread([&] {
      EXPECT_STATUS(cudaErrorStreamCaptureWrongThread,
                    cudaStreamEndCapture(capture.stream, &capture.graph));
    }).join();
    capture.end(cudaSuccess);
    EXPECT_STATUS(cudaSuccess, cudaFree(memory));
  }
  {
    Capture capture(cudaStreamNonBlocking, cudaStreamCaptureModeRelaxed);
    EXPECT_STATUS(cudaSuccess, cudaMalloc(&memory, 4));
    EXPECT_STATUS(cudaSuccess, cudaFree(memory));
    capture.end(cudaSuccess);
  }

  // Other streams, and the legacy one.
  cudaGetLastError();
  {
    Capture capture;
    launch_add(x, 1);
    EXPECT_STATUS(cudaSuccess, cudaGetLastError());
    EXPECT_STATUS(cudaErrorStreamCaptureIsolation, cudaStreamWaitEvent(capture.stream, before));
    capture.end(cudaErrorStreamCaptureInvalidated);
  }
  {
    Capture capture(cudaStreamDefault);
    launch_add(x, 1);
    EXPECT_STATUS(cudaErrorStreamCaptureImplicit, cudaGetLastError());
    capture.end(cudaErrorStreamCaptureInvalidated);
  }
  {
    Capture capture;
    EXPECT_STATUS(cudaSuccess, cudaEventRecord(inside, capture.stream));
    EXPECT_STATUS(cudaSuccess, cudaStreamWaitEvent(capture.stream, inside));
    EXPECT_STATUS(cudaErrorCapturedEvent, cudaEventSynchronize(inside));
    capture.end(cudaErrorStreamCaptureInvalidated);
  }
  EXPECT_STATUS(cudaErrorStreamCaptureUnsupported,
                cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal));
  EXPECT(x.get() == values(8));
  EXPECT_STATUS(cudaSuccess, cudaEventDestroy(before));
  EXPECT_STATUS(cudaSuccess, cudaEventDestroy(inside));
}

// Devices ----------------------------------------------------------------------------------------

// Prints what a program learns of its devices.
void check_devices() {
  int count = -1;
  std::printf("count: %s", cudaGetErrorName(cudaGetDeviceCount(&count)));
  std::printf(" %d\n", count);
  int version = -1;
  std::printf("driver: %s", cudaGetErrorName(cudaDriverGetVersion(&version)));
  std::printf(" %d\n", version);
  std::printf("device 1: %s\n", cudaGetErrorName(cudaSetDevice(1)));
  std::printf("device 0: %s\n", cudaGetErrorName(cudaSetDevice(0)));
  float* memory = nullptr;
  std::printf("memory: %s\n", cudaGetErrorName(cudaMalloc(&memory, 16)));
  cudaDeviceProp properties = {};
  std::printf("properties: %s", cudaGetErrorName(cudaGetDeviceProperties(&properties, 0)));
  std::printf(" %s %d.%d\n", properties.name, properties.major, properties.minor);
  cudaFuncAttributes attributes;
  std::printf("kernel: %s\n", cudaGetErrorName(cudaFuncGetAttributes(&attributes, add_kernel)));
  cudaGetLastError();
  DRML_KERNEL_CALL(empty_kernel, 1, 1, 0, nullptr)();
  std::printf("launch: %s\n", cudaGetErrorName(cudaGetLastError()));
  cudaFree(memory);
}

}  // namespace

int main(int, char** arguments) {
  const char* name = arguments[1];
  if (std::strcmp(name, "kernels") == 0) check_kernels();
  if (std::strcmp(name, "launches") == 0) check_launches();
  if (std::strcmp(name, "memory") == 0) check_memory();
  if (std::strcmp(name, "streams") == 0) check_streams();
  if (std::strcmp(name, "graphs") == 0) check_graphs();
  if (std::strcmp(name, "devices") == 0) check_devices();
  return failed ? 1 : 0;
}
