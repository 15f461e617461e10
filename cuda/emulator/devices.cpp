#include "devices.h"

#include <algorithm>
#include <cstring>

#include "device_memory.h"
#include "environment.h"
#include "runtime_api.h"
#include "streams.h"

namespace drml_emulator {

namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int device_in_use = 0;

}  // namespace

std::unique_lock<std::recursive_mutex> lock_devices() {
  // Never destroyed: memory of a device may be freed while the process ends.
  static auto* mutex = new std::recursive_mutex();
  return std::unique_lock<std::recursive_mutex>(*mutex);
}

cudaError_t devices_status() {
  if (settings().devices < 0) return cudaErrorInsufficientDriver;
  return settings().devices == 0 ? cudaErrorNoDevice : cudaSuccess;
}

int current_device() { return device_in_use; }

bool devices_run_kernels() { return settings().arch >= 35; }

cudaError_t set_last_error(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

namespace {

// As devices_status, and whether there is a device of that number.
cudaError_t device_status(int device) {
  const cudaError_t status = devices_status();
  if (status != cudaSuccess) return status;
  return device >= 0 && device < settings().devices ? cudaSuccess : cudaErrorInvalidDevice;
}

}  // namespace
}  // namespace drml_emulator

using drml_emulator::set_last_error;
using drml_emulator::settings;

cudaError_t cudaGetLastError() {
  const cudaError_t status = drml_emulator::last_error;
  drml_emulator::last_error = cudaSuccess;
  return status;
}

cudaError_t cudaPeekAtLastError() { return drml_emulator::last_error; }

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = settings().devices < 0 ? 0 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(std::max<int64_t>(settings().devices, 0));
  return set_last_error(drml_emulator::devices_status());
}

cudaError_t cudaGetDevice(int* device) {
  *device = drml_emulator::current_device();
  return set_last_error(drml_emulator::devices_status());
}

cudaError_t cudaSetDevice(int device) {
  const cudaError_t status = drml_emulator::device_status(device);
  if (status == cudaSuccess) drml_emulator::device_in_use = device;
  return set_last_error(status);
}

cudaError_t cudaDeviceSynchronize() { return set_last_error(drml_emulator::before_unsafe_call()); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const cudaError_t status = drml_emulator::device_status(device);
  if (status != cudaSuccess) return set_last_error(status);
  *properties = {};
  std::strcpy(properties->name, "CUDA emulator");
  properties->totalGlobalMem = settings().memory;
  properties->sharedMemPerBlock = drml_emulator::kMaxSharedBytes;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = drml_emulator::kMaxThreads;
  std::copy_n(drml_emulator::kMaxBlock, 3, properties->maxThreadsDim);
  std::copy_n(drml_emulator::kMaxGrid, 3, properties->maxGridSize);
  properties->major = static_cast<int>(settings().arch / 10);
  properties->minor = static_cast<int>(settings().arch % 10);
  properties->multiProcessorCount = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t status = cudaGetDeviceProperties(&properties, device);
  if (status != cudaSuccess) return status;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(properties.sharedMemPerBlock);
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = properties.warpSize;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
  }
  return set_last_error(cudaErrorInvalidValue);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  cudaError_t status = drml_emulator::devices_status();
  if (status == cudaSuccess && kernel == nullptr) status = cudaErrorInvalidDeviceFunction;
  if (status == cudaSuccess && !drml_emulator::devices_run_kernels()) {
    status = cudaErrorNoKernelImageForDevice;
  }
  if (status != cudaSuccess) return set_last_error(status);
  *attributes = {};
  attributes->maxThreadsPerBlock = drml_emulator::kMaxThreads;
  attributes->ptxVersion = static_cast<int>(settings().arch);
  attributes->binaryVersion = static_cast<int>(settings().arch);
  return cudaSuccess;
}
