#include "streams.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "device_memory.h"
#include "devices.h"

using Operations = std::vector<std::function<void()>>;
using Clock = std::chrono::steady_clock;

struct CUgraph_st {
  Operations operations;
};

struct CUgraphExec_st {
  Operations operations;
  int device;
};

struct CUstream_st {
  int device;
  bool blocking;                      // ordered with the legacy stream
  std::unique_ptr<CUgraph_st> graph;  // while it is captured
  int64_t capture = 0;                // number of the capture
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id capturer;
  bool spoilt = false;
};

struct CUevent_st {
  int device;
  bool timed;
  bool recorded = false;
  int64_t capture = 0;  // that it was last recorded in, or 0
  Clock::time_point time;
};

namespace drml_emulator {

namespace {

int64_t captures = 0;

std::vector<cudaStream_t>& captured_streams() {
  static auto* streams = new std::vector<cudaStream_t>();
  return *streams;
}

// Whether work may be given to a stream.
cudaError_t stream_status(cudaStream_t stream) {
  const cudaError_t status = devices_status();
  if (status != cudaSuccess) return status;
  if (stream != nullptr && stream->device != current_device())
    return cudaErrorInvalidResourceHandle;
  if (stream != nullptr) return stream->spoilt ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  // The legacy stream waits for blocking streams, and a captured one has nothing to wait for.
  cudaError_t result = cudaSuccess;
  for (const cudaStream_t other : captured_streams()) {
    if (!other->blocking || other->device != current_device()) continue;
    other->spoilt = true;
    result = cudaErrorStreamCaptureImplicit;
  }
  return result;
}

bool is_captured(cudaStream_t stream) { return stream != nullptr && stream->graph != nullptr; }

// What a captured stream or event does not allow: the capture cannot go on.
cudaError_t spoil(cudaStream_t stream) {
  stream->spoilt = true;
  return cudaErrorStreamCaptureUnsupported;
}

}  // namespace

cudaError_t submit(cudaStream_t stream, std::function<void()> operation) {
  const auto lock = lock_devices();
  const cudaError_t status = stream_status(stream);
  if (status != cudaSuccess) return status;
  if (is_captured(stream)) {
    stream->graph->operations.push_back(std::move(operation));
  } else {
    operation();
  }
  return cudaSuccess;
}

cudaError_t before_unsafe_call() {
  const auto lock = lock_devices();
  cudaError_t status = devices_status();
  for (const cudaStream_t stream : captured_streams()) {
    if (stream->mode == cudaStreamCaptureModeRelaxed) continue;
    const bool mine = stream->capturer == std::this_thread::get_id();
    if (stream->mode == cudaStreamCaptureModeThreadLocal && !mine) continue;
    status = spoil(stream);
  }
  return status;
}

cudaError_t check_launch(const Geometry& geometry) {
  const cudaError_t status = devices_status();
  if (status != cudaSuccess) return status;
  if (!devices_run_kernels()) return cudaErrorNoKernelImageForDevice;
  const auto within = [](const dim3& size, const int* limits) {
    const unsigned int sizes[3] = {size.x, size.y, size.z};
    for (int i = 0; i < 3; ++i) {
      if (sizes[i] == 0 || sizes[i] > static_cast<unsigned int>(limits[i])) return false;
    }
    return true;
  };
  if (!within(geometry.grid, kMaxGrid) || !within(geometry.block, kMaxBlock) ||
      geometry.block.x * geometry.block.y * geometry.block.z > unsigned{kMaxThreads}) {
    return cudaErrorInvalidConfiguration;
  }
  return geometry.shared_bytes <= kMaxSharedBytes ? cudaSuccess : cudaErrorInvalidValue;
}

void run_kernel(int device, const Geometry& geometry, Body body, const void* arguments) {
  const DeviceOpen open(device);
  run_grid(geometry, body, arguments);
}

}  // namespace drml_emulator

using drml_emulator::before_unsafe_call;
using drml_emulator::captured_streams;
using drml_emulator::is_captured;
using drml_emulator::lock_devices;
using drml_emulator::set_last_error;
using drml_emulator::stream_status;

// Streams ----------------------------------------------------------------------------------------

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int flags) {
  const cudaError_t status = drml_emulator::devices_status();
  if (status != cudaSuccess) return set_last_error(status);
  *stream = new CUstream_st{};
  (*stream)->device = drml_emulator::current_device();
  (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto lock = lock_devices();
  if (stream == nullptr) return set_last_error(cudaErrorInvalidResourceHandle);
  auto& captured = captured_streams();
  captured.erase(std::remove(captured.begin(), captured.end(), stream), captured.end());
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto lock = lock_devices();
  if (is_captured(stream)) return set_last_error(drml_emulator::spoil(stream));
  return set_last_error(before_unsafe_call());
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int /*flags*/) {
  const auto lock = lock_devices();
  const cudaError_t status = stream_status(stream);
  if (status != cudaSuccess) return set_last_error(status);
  if (is_captured(stream)) {
    if (event->capture == stream->capture || !event->recorded) return cudaSuccess;
    stream->spoilt = true;
    return set_last_error(cudaErrorStreamCaptureIsolation);
  }
  for (const cudaStream_t other : captured_streams()) {
    // On a GPU the waiting stream would join the capture, which is not emulated.
    if (event->capture == other->capture) return set_last_error(drml_emulator::spoil(other));
  }
  return event->capture == 0 ? cudaSuccess : set_last_error(cudaErrorCapturedEvent);
}

// Events -----------------------------------------------------------------------------------------

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  const cudaError_t status = drml_emulator::devices_status();
  if (status != cudaSuccess) return set_last_error(status);
  *event = new CUevent_st{};
  (*event)->device = drml_emulator::current_device();
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (event == nullptr) return set_last_error(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto lock = lock_devices();
  const cudaError_t status = stream_status(stream);
  if (status != cudaSuccess) return set_last_error(status);
  if (event->device != drml_emulator::current_device()) {
    return set_last_error(cudaErrorInvalidResourceHandle);
  }
  event->recorded = true;
  event->capture = is_captured(stream) ? stream->capture : 0;
  event->time = Clock::now();
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto lock = lock_devices();
  for (const cudaStream_t stream : captured_streams()) {
    if (event->capture == stream->capture) stream->spoilt = true;
  }
  if (event->capture != 0) return set_last_error(cudaErrorCapturedEvent);
  return set_last_error(before_unsafe_call());
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const auto lock = lock_devices();
  for (const cudaEvent_t event : {start, end}) {
    if (event->capture != 0) return set_last_error(cudaErrorCapturedEvent);
    if (!event->timed || !event->recorded) return set_last_error(cudaErrorInvalidResourceHandle);
  }
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

// Graphs -----------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const auto lock = lock_devices();
  const cudaError_t status = drml_emulator::devices_status();
  if (status != cudaSuccess) return set_last_error(status);
  if (stream == nullptr) return set_last_error(cudaErrorStreamCaptureUnsupported);
  if (is_captured(stream)) return set_last_error(cudaErrorIllegalState);
  stream->graph = std::make_unique<CUgraph_st>();
  stream->capture = ++drml_emulator::captures;
  stream->mode = mode;
  stream->capturer = std::this_thread::get_id();
  stream->spoilt = false;
  captured_streams().push_back(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const auto lock = lock_devices();
  *graph = nullptr;
  if (!is_captured(stream)) return set_last_error(cudaErrorIllegalState);
  if (stream->mode != cudaStreamCaptureModeRelaxed &&
      stream->capturer != std::this_thread::get_id()) {
    return set_last_error(cudaErrorStreamCaptureWrongThread);
  }
  auto& captured = captured_streams();
  captured.erase(std::remove(captured.begin(), captured.end(), stream), captured.end());
  const std::unique_ptr<CUgraph_st> recorded = std::move(stream->graph);
  if (std::exchange(stream->spoilt, false)) {
    return set_last_error(cudaErrorStreamCaptureInvalidated);
  }
  *graph = new CUgraph_st(std::move(*recorded));
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const auto lock = lock_devices();
  *status = cudaStreamCaptureStatusNone;
  if (is_captured(stream)) {
    *status = stream->spoilt ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
  if (graph == nullptr) return set_last_error(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{graph->operations, drml_emulator::current_device()};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 cudaGraphNode_t* /*error*/, char* /*log*/, size_t /*log_bytes*/) {
  return cudaGraphInstantiate(exec, graph, 0ull);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (exec == nullptr) return set_last_error(cudaErrorInvalidValue);
  if (exec->device != drml_emulator::current_device()) {
    return set_last_error(cudaErrorInvalidResourceHandle);
  }
  return set_last_error(drml_emulator::submit(stream, [operations = exec->operations] {
    for (const auto& operation : operations) operation();
  }));
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (graph == nullptr) return set_last_error(cudaErrorInvalidValue);
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  if (exec == nullptr) return set_last_error(cudaErrorInvalidValue);
  delete exec;
  return cudaSuccess;
}
