#include "device_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "devices.h"
#include "environment.h"
#include "runtime_api.h"
#include "sanitizers.h"
#include "streams.h"

namespace drml_emulator {

namespace {

constexpr size_t kAlignment = 256;  // of what cudaMalloc returns
constexpr uintptr_t kGranule = 8;   // bytes that AddressSanitizer marks as one
constexpr int kUnsetByte = 0xff;    // four of them are a NaN, which shows in results

struct Allocation {
  char* begin;
  size_t bytes;
};

// By address, so that the one that holds a pointer is found by bisection.
class Allocations {
 public:
  const Allocation* find(const void* memory) const {
    const auto* byte = static_cast<const char*>(memory);
    auto next = std::upper_bound(
        all_.begin(), all_.end(), byte,
        [](const char* wanted, const Allocation& entry) { return wanted < entry.begin; });
    if (next == all_.begin()) return nullptr;
    --next;
    return byte < next->begin + next->bytes ? &*next : nullptr;
  }

  void add(const Allocation& entry) {
    const auto next = std::upper_bound(
        all_.begin(), all_.end(), entry,
        [](const Allocation& a, const Allocation& b) { return a.begin < b.begin; });
    all_.insert(next, entry);
    used_ += entry.bytes;
  }

  void remove(const Allocation* entry) {
    used_ -= entry->bytes;
    all_.erase(all_.begin() + (entry - all_.data()));
  }

  const std::vector<Allocation>& all() const { return all_; }
  size_t used() const { return used_; }

 private:
  std::vector<Allocation> all_;
  size_t used_ = 0;
};

std::vector<Allocations>& device_memory() {
  static auto* memory = new std::vector<Allocations>(std::max<size_t>(settings().devices, 1));
  return *memory;
}

Allocations& pinned_memory() {
  static auto* memory = new Allocations();
  return *memory;
}

// The allocation of any device that holds the first byte, and its device.
const Allocation* find_on_devices(const void* memory, int* device) {
  for (size_t i = 0; i < device_memory().size(); ++i) {
    const Allocation* entry = device_memory()[i].find(memory);
    if (entry == nullptr) continue;
    *device = static_cast<int>(i);
    return entry;
  }
  return nullptr;
}

char* allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, bytes) != 0) return nullptr;
  std::memset(memory, kUnsetByte, bytes);
  return static_cast<char*>(memory);
}

}  // namespace

int device_of(const void* memory, size_t bytes) {
  const auto lock = lock_devices();
  int device = -1;
  const Allocation* entry = find_on_devices(memory, &device);
  if (entry == nullptr) return -1;
  const auto* begin = static_cast<const char*>(memory);
  const auto left = static_cast<size_t>(entry->begin + entry->bytes - begin);
  return bytes <= left ? device : -1;
}

DeviceOpen::DeviceOpen(int device) : device_(device) {
  if (!kAddressSanitizer) return;
  for (const Allocation& entry : device_memory()[device_].all()) unpoison(entry.begin, entry.bytes);
}

DeviceOpen::~DeviceOpen() {
  if (!kAddressSanitizer) return;
  for (const Allocation& entry : device_memory()[device_].all()) poison(entry.begin, entry.bytes);
}

RangeOpen::RangeOpen(const void* memory, size_t bytes) {
  if (!kAddressSanitizer) return;
  int device = -1;
  const Allocation* entry = find_on_devices(memory, &device);
  if (entry == nullptr) return;
  const auto first = reinterpret_cast<uintptr_t>(memory) / kGranule * kGranule;
  const auto last =
      (reinterpret_cast<uintptr_t>(memory) + bytes + kGranule - 1) / kGranule * kGranule;
  const auto end = reinterpret_cast<uintptr_t>(entry->begin) + entry->bytes;
  begin_ = reinterpret_cast<const char*>(first);
  bytes_ = std::min(last, end) - first;
  unpoison(begin_, bytes_);
}

RangeOpen::~RangeOpen() {
  if (begin_ != nullptr) poison(begin_, bytes_);
}

namespace {

// Whether both ends of a copy are where `kind` says.
bool copy_is_valid(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  int device = -1;
  const bool to_device = find_on_devices(to, &device) != nullptr;
  const bool from_device = find_on_devices(from, &device) != nullptr;
  if (to_device && device_of(to, bytes) < 0) return false;
  if (from_device && device_of(from, bytes) < 0) return false;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

void copy_bytes(void* to, const void* from, size_t bytes) {
  const RangeOpen open_to(to, bytes);
  const RangeOpen open_from(from, bytes);
  std::memcpy(to, from, bytes);
}

void set_bytes(void* memory, int value, size_t bytes) {
  const RangeOpen open(memory, bytes);
  std::memset(memory, value, bytes);
}

}  // namespace
}  // namespace drml_emulator

using drml_emulator::before_unsafe_call;
using drml_emulator::devices_status;
using drml_emulator::lock_devices;
using drml_emulator::set_last_error;

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const auto lock = lock_devices();
  const cudaError_t status = before_unsafe_call();
  if (status != cudaSuccess) return set_last_error(status);
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  auto& allocations = drml_emulator::device_memory()[drml_emulator::current_device()];
  if (bytes > drml_emulator::settings().memory - allocations.used()) {
    return set_last_error(cudaErrorMemoryAllocation);
  }
  char* begin = drml_emulator::allocate(bytes);
  if (begin == nullptr) return set_last_error(cudaErrorMemoryAllocation);
  drml_emulator::poison(begin, bytes);
  allocations.add({begin, bytes});
  *memory = begin;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const auto lock = lock_devices();
  const cudaError_t status = before_unsafe_call();
  if (status != cudaSuccess) return set_last_error(status);
  if (memory == nullptr) return cudaSuccess;
  int device = -1;
  const auto* entry = drml_emulator::find_on_devices(memory, &device);
  if (entry == nullptr || entry->begin != memory) return set_last_error(cudaErrorInvalidValue);
  drml_emulator::unpoison(entry->begin, entry->bytes);
  drml_emulator::device_memory()[device].remove(entry);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned int /*flags*/) {
  const auto lock = lock_devices();
  const cudaError_t status = before_unsafe_call();
  if (status != cudaSuccess) return set_last_error(status);
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  char* begin = drml_emulator::allocate(bytes);
  if (begin == nullptr) return set_last_error(cudaErrorMemoryAllocation);
  drml_emulator::pinned_memory().add({begin, bytes});
  *memory = begin;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return cudaHostAlloc(memory, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* memory) {
  const auto lock = lock_devices();
  const cudaError_t status = before_unsafe_call();
  if (status != cudaSuccess) return set_last_error(status);
  if (memory == nullptr) return cudaSuccess;
  auto& allocations = drml_emulator::pinned_memory();
  const auto* entry = allocations.find(memory);
  if (entry == nullptr || entry->begin != memory) return set_last_error(cudaErrorInvalidValue);
  allocations.remove(entry);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const auto lock = lock_devices();
  const cudaError_t status = devices_status();
  if (status != cudaSuccess) return set_last_error(status);
  const auto& allocations = drml_emulator::device_memory()[drml_emulator::current_device()];
  *total_bytes = drml_emulator::settings().memory;
  *free_bytes = *total_bytes - allocations.used();
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const auto lock = lock_devices();
  const cudaError_t status = devices_status();
  if (status != cudaSuccess) return set_last_error(status);
  auto* pointer = const_cast<void*>(memory);
  int device = drml_emulator::current_device();
  if (drml_emulator::find_on_devices(memory, &device) != nullptr) {
    *attributes = {cudaMemoryTypeDevice, device, pointer, nullptr};
  } else if (drml_emulator::pinned_memory().find(memory) != nullptr) {
    *attributes = {cudaMemoryTypeHost, device, pointer, pointer};
  } else {
    *attributes = {cudaMemoryTypeUnregistered, device, nullptr, pointer};
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const auto lock = lock_devices();
  const cudaError_t status = before_unsafe_call();
  if (status != cudaSuccess) return set_last_error(status);
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const auto lock = lock_devices();
  const cudaError_t status = devices_status();
  if (status != cudaSuccess) return set_last_error(status);
  if (bytes > 0 && !drml_emulator::copy_is_valid(to, from, bytes, kind)) {
    return set_last_error(cudaErrorInvalidValue);
  }
  return set_last_error(
      drml_emulator::submit(stream, [=] { drml_emulator::copy_bytes(to, from, bytes); }));
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  const auto lock = lock_devices();
  const cudaError_t status = before_unsafe_call();
  if (status != cudaSuccess) return set_last_error(status);
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  const auto lock = lock_devices();
  const cudaError_t status = devices_status();
  if (status != cudaSuccess) return set_last_error(status);
  if (bytes > 0 && drml_emulator::device_of(memory, bytes) < 0) {
    return set_last_error(cudaErrorInvalidValue);
  }
  return set_last_error(
      drml_emulator::submit(stream, [=] { drml_emulator::set_bytes(memory, value, bytes); }));
}
