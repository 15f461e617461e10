// CUDA devices as the rest of drml sees them: memory, transfers, graphs, counters. Plain C++.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "device.h"
#include "tensor.h"

namespace drml::cuda {

// How many devices there are; 0 without a driver, and `why` then says so in a few words.
int device_count(std::string* why = nullptr);

struct DeviceInfo {
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
};

// Throws std::invalid_argument, in one line, for a device that is not there or that this build has
// no code for.
DeviceInfo device_info(int index);

// Makes a device current for this thread and keeps other threads off it meanwhile; the first one
// opens the device.
class Guard {
 public:
  explicit Guard(const Device& device);

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

// Zeros; throws a std::bad_alloc that tells what was needed and what was free.
std::shared_ptr<float> allocate(int index, int64_t elements, const Shape& shape);

// Between the host and a dense tensor, in the order of its memory. A download waits for the device
// and raises what kernels found wrong with their input.
void upload(const float* from, const Tensor& to);
void download(const Tensor& from, float* to);
// Waits for the device, and raises as a download does.
void synchronize(const Device& device);

// Kernels cannot raise. What they find wrong is told with the tag that was set when their op was
// called: `fault_tag` is that of the last one raised, -1 when there was none.
void set_tag(int64_t tag);
int64_t fault_tag();

// Of this process, all devices: what a steady iteration must not do is counted.
struct Counters {
  int64_t launches = 0;
  int64_t allocations = 0;
  int64_t synchronizations = 0;
};
Counters counters();

// Input on its way to a device: pinned memory that the host fills, copied on a stream of its own
// while kernels run.
class InputBuffer {
 public:
  InputBuffer(Shape shape, bool channels_last, const Device& device);
  ~InputBuffer();
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  const Tensor& staged() const { return staged_; }
  float* host();                // waits until the last copy has read it
  void start();                 // starts the copy of what host() holds
  void take(const Tensor& to);  // queues a copy into `to`, of the same shape, for when it is there

 private:
  struct Events;

  Tensor staged_;
  float* host_ = nullptr;
  std::unique_ptr<Events> events_;
};

// The kernels that ops launch between begin and end, to be launched again as one.
class Graph {
 public:
  explicit Graph(const Device& device);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void begin();
  void end();    // throws what went wrong while capturing
  void abort();  // leaves a capture that failed; never throws
  void launch();

 private:
  struct State;

  Device device_;
  std::unique_ptr<State> state_;
};

}  // namespace drml::cuda
