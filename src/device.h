// Where a tensor's memory lies and its ops run: the CPU, or one of the CUDA devices.
#pragma once

#include <string>

namespace drml {

struct Device {
  bool cuda = false;
  int index = 0;  // of the CUDA device

  bool operator==(const Device& other) const { return cuda == other.cuda && index == other.index; }
  bool operator!=(const Device& other) const { return !(*this == other); }
};

// `cpu`, `cuda` (the first device) or `cuda:N`; throws std::invalid_argument for anything else.
Device parse_device(const std::string& name);
std::string device_name(const Device& device);  // `cpu` or `cuda:N`

}  // namespace drml
