// The emulator's devices, as its own files see them.
#pragma once

#include <cstddef>
#include <mutex>

#include "runtime_api.h"

namespace drml_emulator {

constexpr int kMaxThreads = 1024;  // of a block
constexpr int kMaxBlock[3] = {1024, 1024, 64};
constexpr int kMaxGrid[3] = {2147483647, 65535, 65535};
constexpr size_t kMaxSharedBytes = 48 << 10;

// Keeps other host threads off the devices as long as what it returns lives. Kernels run under it.
std::unique_lock<std::recursive_mutex> lock_devices();

// What every call returns on a machine without devices or driver; cudaSuccess elsewhere.
cudaError_t devices_status();
bool devices_run_kernels();  // this build has code for them
int current_device();

// Returns `status`, and remembers it for cudaGetLastError if it is an error.
cudaError_t set_last_error(cudaError_t status);

}  // namespace drml_emulator
