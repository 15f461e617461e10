// Who owns which memory: every device has its own, and hosts may not touch it.
#pragma once

#include <cstddef>

namespace drml_emulator {

// The device whose memory holds all of these bytes in one allocation; -1 for any other memory.
int device_of(const void* memory, size_t bytes);

// While one lives, AddressSanitizer lets a kernel touch all memory of one device.
class DeviceOpen {
 public:
  explicit DeviceOpen(int device);
  ~DeviceOpen();
  DeviceOpen(const DeviceOpen&) = delete;
  DeviceOpen& operator=(const DeviceOpen&) = delete;

 private:
  int device_;
};

// The same for what a copy or cuBLAS touches. Memory of the host is left as it is.
class RangeOpen {
 public:
  RangeOpen(const void* memory, size_t bytes);
  ~RangeOpen();
  RangeOpen(const RangeOpen&) = delete;
  RangeOpen& operator=(const RangeOpen&) = delete;

 private:
  const char* begin_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace drml_emulator
