// CUDA devices: opened when first used and kept to the end of the process, one stream each.
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>
#include <utility>

#include "check.h"
#include "cuda/context.h"
#include "cuda/runtime.h"
#include "ops.h"

#ifndef DRML_CUDA_ARCHITECTURES
#define DRML_CUDA_ARCHITECTURES "unknown"
#endif

namespace drml::cuda {

// Does nothing: whether a device has code for it tells whether it has code for the others.
__global__ void probe_kernel() {}

namespace {

constexpr int kMaxDevices = 64;
constexpr int64_t kMaxFaults = 4096;

std::atomic<int64_t> launches{0};
std::atomic<int64_t> allocations{0};
std::atomic<int64_t> synchronizations{0};
std::atomic<int64_t> current_tag{-1};
std::atomic<int64_t> raised_tag{-1};

std::string gigabytes(int64_t bytes) {
  std::ostringstream text;
  text.precision(3);
  if (bytes < 100'000'000) {
    text << static_cast<double>(bytes) / 1e6 << " MB";
  } else {
    text << static_cast<double>(bytes) / 1e9 << " GB";
  }
  return text.str();
}

class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// Memory of the current device.
char* allocate_bytes(int index, int64_t bytes, const std::string& what) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // an allocation that failed leaves the device as it was
    size_t free = 0;
    size_t total = 0;
    cudaMemGetInfo(&free, &total);
    throw OutOfMemory(device_name(Device{true, index}) + ": out of memory: " + what + " needs " +
                      gigabytes(bytes) + ", " + gigabytes(static_cast<int64_t>(free)) + " of " +
                      gigabytes(static_cast<int64_t>(total)) + " are free");
  }
  Context::of(Device{true, index}).check(status, "cudaMalloc");
  ++allocations;
  return static_cast<char*>(memory);
}

// Contexts live to the end of the process: at its exit the driver may be gone before they are.
struct Slot {
  std::mutex mutex;
  Context* context = nullptr;
};

Slot& slot(int index) {
  static auto* slots = new std::array<Slot, kMaxDevices>();
  return (*slots)[static_cast<size_t>(index)];
}

// Throws unless the device is there.
void check_index(int index) {
  std::string why;
  const int count = device_count(&why);
  const std::string name = device_name(Device{true, index});
  DRML_CHECK(count > 0, "device '", name, "': ", why);
  DRML_CHECK(index < count && index < kMaxDevices, "device '", name, "': there ",
             count == 1 ? "is 1 CUDA device, cuda:0"
                        : "are " + std::to_string(count) +
                              " CUDA devices, cuda:0 to cuda:" + std::to_string(count - 1));
}

// Throws unless the device is there and runs this build's code; makes it current.
void open(int index) {
  check_index(index);
  const std::string name = device_name(Device{true, index});
  cudaError_t status = cudaSetDevice(index);
  cudaFuncAttributes attributes;
  if (status == cudaSuccess) status = cudaFuncGetAttributes(&attributes, probe_kernel);
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    cudaDeviceProp properties;
    cudaGetDeviceProperties(&properties, index);
    fail("device '", name, "': ", properties.name, " has compute capability ", properties.major,
         ".", properties.minor, ", for which this build of drml has no code (it has ",
         DRML_CUDA_ARCHITECTURES, "); build it with DRML_CUDA_ARCHITECTURES=", properties.major,
         properties.minor);
  }
  DRML_CHECK(status == cudaSuccess, "device '", name, "': ", cudaGetErrorString(status));
}

}  // namespace

int device_count(std::string* why) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (why != nullptr) {
    int needed = 0;
    cudaRuntimeGetVersion(&needed);
    const std::string version =
        std::to_string(needed / 1000) + "." + std::to_string(needed % 1000 / 10);
    if (status == cudaErrorInsufficientDriver) {
      *why = "there is no NVIDIA driver, or one that is too old for CUDA " + version;
    } else if (status == cudaSuccess || status == cudaErrorNoDevice) {
      *why = "there is no CUDA device";
    } else {
      *why = cudaGetErrorString(status);
    }
  }
  return 0;
}

DeviceInfo device_info(int index) {
  const Guard guard(Device{true, index});
  const Context& context = Context::of(Device{true, index});
  cudaDeviceProp properties;
  context.check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  size_t free = 0;
  size_t total = 0;
  context.check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {properties.name, properties.major, properties.minor, static_cast<int64_t>(total),
          static_cast<int64_t>(free)};
}

Guard::Guard(const Device& device) {
  DRML_CHECK(device.cuda, "device 'cpu' is no CUDA device");
  if (device.index >= kMaxDevices) check_index(device.index);  // which throws
  Slot& entry = slot(device.index);
  {
    const std::lock_guard<std::mutex> lock(entry.mutex);
    if (entry.context == nullptr) {
      open(device.index);
      entry.context = new Context(device.index);
    }
  }
  lock_ = std::unique_lock<std::recursive_mutex>(entry.context->mutex_);
  entry.context->check(cudaSetDevice(device.index), "cudaSetDevice");
}

std::shared_ptr<float> allocate(int index, int64_t elements, const Shape& shape) {
  const Device device{true, index};
  const Guard guard(device);
  const Context& context = Context::of(device);
  const int64_t bytes = elements * static_cast<int64_t>(sizeof(float));
  auto* memory = reinterpret_cast<float*>(
      allocate_bytes(index, bytes, "an array of shape " + to_string(shape)));
  std::shared_ptr<float> owner(memory, [index](float* block) {
    cudaSetDevice(index);
    cudaFree(block);
  });
  context.check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), context.stream()),
                "cudaMemsetAsync");
  return owner;
}

void upload(const float* from, const Tensor& to) {
  DRML_CHECK(to.is_dense(), "a tensor of shape ", to_string(to.shape()), " with gaps in memory");
  const Guard guard(to.device());
  Context& context = Context::of(to);
  const auto bytes = static_cast<size_t>(to.size()) * sizeof(float);
  context.check(cudaMemcpyAsync(to.data(), from, bytes, cudaMemcpyHostToDevice, context.stream()),
                "cudaMemcpyAsync to the device");
  context.synchronize();
}

void download(const Tensor& from, float* to) {
  DRML_CHECK(from.is_dense(), "a tensor of shape ", to_string(from.shape()),
             " with gaps in memory");
  const Guard guard(from.device());
  Context& context = Context::of(from);
  context.read(from.data(), from.size() * static_cast<int64_t>(sizeof(float)), to);
  context.raise_faults();
}

void synchronize(const Device& device) {
  const Guard guard(device);
  Context::of(device).synchronize();
  Context::of(device).raise_faults();
}

void set_tag(int64_t tag) { current_tag = tag; }
int64_t fault_tag() { return raised_tag; }

Counters counters() { return {launches, allocations, synchronizations}; }

// Context ----------------------------------------------------------------------------------------

Context& Context::of(const Device& device) { return *slot(device.index).context; }

Context::Context(int index) : index_(index) {
  const char* sync = std::getenv("DRML_SYNC");
  synchronous_ = sync != nullptr && std::strcmp(sync, "1") == 0;
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
}

cudaStream_t Context::copy_stream() {
  if (copy_stream_ == nullptr) {
    check(cudaStreamCreateWithFlags(&copy_stream_, cudaStreamNonBlocking),
          "cudaStreamCreateWithFlags");
  }
  return copy_stream_;
}

cublasHandle_t Context::blas() {
  if (blas_ == nullptr) {
    check(cublasCreate(&blas_), "cublasCreate");
    check(cublasSetStream(blas_, stream_), "cublasSetStream");
    // Memory of our own, so that cuBLAS allocates none while a graph is captured; as much as its
    // documentation asks for.
    int major = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index_),
          "cudaDeviceGetAttribute");
    const int64_t bytes = int64_t{major >= 9 ? 32 : 4} << 20;
    check(cublasSetWorkspace(blas_, allocate_bytes(index_, bytes, "the workspace of cuBLAS"),
                             static_cast<size_t>(bytes)),
          "cublasSetWorkspace");
  }
  return blas_;
}

char* Context::scratch(int64_t bytes) {
  if (bytes <= scratch_bytes_) return scratch_;
  DRML_CHECK(!capturing_, "an op needs ", gigabytes(bytes),
             " of scratch memory that no forward pass before the capture has asked for");
  if (scratch_ != nullptr) {
    synchronize();
    check(cudaFree(scratch_), "cudaFree");
    scratch_ = nullptr;
    scratch_bytes_ = 0;
  }
  scratch_ = allocate_bytes(index_, bytes, "scratch memory of an op");
  scratch_bytes_ = bytes;
  return scratch_;
}

uint64_t* Context::fault(Describe describe) {
  const size_t bytes = kMaxFaults * sizeof(uint64_t);
  if (fault_slots_ == nullptr) {
    fault_slots_ = reinterpret_cast<uint64_t*>(allocate_bytes(index_, bytes, "a table of faults"));
  }
  if (static_cast<int64_t>(faults_.size()) == kMaxFaults) raise_faults();
  if (faults_were_read_) {
    faults_.clear();
    check(cudaMemsetAsync(fault_slots_, 0xff, bytes, stream_), "cudaMemsetAsync");
    faults_were_read_ = false;
  }
  faults_.push_back({std::move(describe), current_tag});
  return fault_slots_ + faults_.size() - 1;
}

void Context::raise_faults() {
  if (faults_were_read_) return;
  constexpr uint64_t kNone = ~uint64_t{0};
  std::vector<uint64_t> found(faults_.size());
  const auto bytes = static_cast<int64_t>(found.size() * sizeof(uint64_t));
  read(fault_slots_, bytes, found.data());
  faults_were_read_ = true;
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] == kNone) continue;
    // A graph that is launched again reports into the same slots.
    check(cudaMemsetAsync(fault_slots_, 0xff, static_cast<size_t>(bytes), stream_),
          "cudaMemsetAsync");
    const auto bits = static_cast<uint32_t>(found[i]);
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    raised_tag = faults_[i].tag;
    throw std::invalid_argument(faults_[i].describe(static_cast<int64_t>(found[i] >> 32), value));
  }
}

void Context::read(const void* from, int64_t bytes, void* to) {
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_),
        "cudaMemcpyAsync to the host");
  synchronize();
}

void Context::synchronize() {
  ++synchronizations;
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void Context::before_capture() {
  synchronize();
  raise_faults();
  blas();
  capturing_ = true;
}

void Context::after_capture() {
  capturing_ = false;
  faults_were_read_ = true;  // nothing has run yet
}

void Context::check(cudaError_t status, const char* call) const {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  std::string message =
      device_name(Device{true, index_}) + ": " + call + ": " + cudaGetErrorString(status);
  if (!synchronous_ && (status == cudaErrorIllegalAddress || status == cudaErrorLaunchFailure)) {
    message += "; a kernel that ran before may be the cause: with DRML_SYNC=1 it is named";
  }
  throw std::runtime_error(message);
}

void Context::check(cublasStatus_t status, const char* call) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw std::runtime_error(device_name(Device{true, index_}) + ": " + call + ": " +
                           cublasGetStatusString(status));
}

void Context::check_launch(const char* kernel, dim3 grid, dim3 block, size_t shared) {
  ++launches;
  cudaError_t status = cudaGetLastError();
  if (status == cudaSuccess && synchronous_ && !capturing_) status = cudaStreamSynchronize(stream_);
  if (status == cudaSuccess) return;
  std::ostringstream call;
  call << kernel << " (" << grid.x << " x " << grid.y << " x " << grid.z << " blocks of "
       << block.x * block.y * block.z << " threads, " << shared << " bytes of shared memory)";
  check(status, call.str().c_str());
}

// Input ------------------------------------------------------------------------------------------

struct InputBuffer::Events {
  cudaEvent_t copied = nullptr;
  cudaEvent_t taken = nullptr;
};

InputBuffer::InputBuffer(Shape shape, bool channels_last, const Device& device)
    : staged_(std::move(shape), channels_last, device), events_(std::make_unique<Events>()) {
  const Guard guard(device);
  const Context& context = Context::of(device);
  const auto bytes = static_cast<size_t>(std::max<int64_t>(staged_.size(), 1)) * sizeof(float);
  context.check(cudaHostAlloc(reinterpret_cast<void**>(&host_), bytes, cudaHostAllocDefault),
                "cudaHostAlloc");
  for (cudaEvent_t* event : {&events_->copied, &events_->taken}) {
    context.check(cudaEventCreateWithFlags(event, cudaEventDisableTiming),
                  "cudaEventCreateWithFlags");
  }
}

InputBuffer::~InputBuffer() {
  cudaSetDevice(staged_.device().index);
  if (events_->copied != nullptr) cudaEventSynchronize(events_->copied);
  if (events_->copied != nullptr) cudaEventDestroy(events_->copied);
  if (events_->taken != nullptr) cudaEventDestroy(events_->taken);
  cudaFreeHost(host_);
}

float* InputBuffer::host() {
  // Without the guard: kernels are launched while this waits.
  const cudaError_t status = cudaEventSynchronize(events_->copied);
  Context::of(staged_).check(status, "cudaEventSynchronize");
  return host_;
}

void InputBuffer::start() {
  const Guard guard(staged_.device());
  Context& context = Context::of(staged_);
  const cudaStream_t stream = context.copy_stream();
  context.check(cudaStreamWaitEvent(stream, events_->taken, 0), "cudaStreamWaitEvent");
  const auto bytes = static_cast<size_t>(staged_.size()) * sizeof(float);
  context.check(cudaMemcpyAsync(staged_.data(), host_, bytes, cudaMemcpyHostToDevice, stream),
                "cudaMemcpyAsync to the device");
  context.check(cudaEventRecord(events_->copied, stream), "cudaEventRecord");
}

void InputBuffer::take(const Tensor& to) {
  const Guard guard(staged_.device());
  Context& context = Context::of(staged_);
  context.check(cudaStreamWaitEvent(context.stream(), events_->copied, 0), "cudaStreamWaitEvent");
  copy(staged_, to);
  context.check(cudaEventRecord(events_->taken, context.stream()), "cudaEventRecord");
}

// Graphs -----------------------------------------------------------------------------------------

struct Graph::State {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;

  void clear() {
    if (exec != nullptr) cudaGraphExecDestroy(exec);
    if (graph != nullptr) cudaGraphDestroy(graph);
    exec = nullptr;
    graph = nullptr;
  }
};

Graph::Graph(const Device& device) : device_(device), state_(std::make_unique<State>()) {}

Graph::~Graph() { state_->clear(); }

void Graph::begin() {
  const Guard guard(device_);
  Context& context = Context::of(device_);
  state_->clear();
  context.before_capture();
  context.check(cudaStreamBeginCapture(context.stream(), cudaStreamCaptureModeThreadLocal),
                "cudaStreamBeginCapture");
}

void Graph::end() {
  const Guard guard(device_);
  Context& context = Context::of(device_);
  context.after_capture();
  context.check(cudaStreamEndCapture(context.stream(), &state_->graph), "cudaStreamEndCapture");
#if CUDART_VERSION >= 12000
  const cudaError_t status = cudaGraphInstantiate(&state_->exec, state_->graph, 0);
#else
  const cudaError_t status =
      cudaGraphInstantiate(&state_->exec, state_->graph, nullptr, nullptr, 0);
#endif
  context.check(status, "cudaGraphInstantiate");
}

void Graph::abort() {
  const Guard guard(device_);
  Context& context = Context::of(device_);
  context.after_capture();
  cudaStreamEndCapture(context.stream(), &state_->graph);
  cudaGetLastError();
  state_->clear();
}

void Graph::launch() {
  const Guard guard(device_);
  Context& context = Context::of(device_);
  DRML_CHECK(state_->exec != nullptr, "a graph that nothing was captured in");
  context.check(cudaGraphLaunch(state_->exec, context.stream()), "cudaGraphLaunch");
  context.expect_faults();
  ++launches;
}

}  // namespace drml::cuda
