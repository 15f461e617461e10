#include "device.h"

#include "check.h"

namespace drml {

Device parse_device(const std::string& name) {
  if (name == "cpu") return {};
  if (name == "cuda") return {true, 0};
  const std::string prefix = "cuda:";
  const std::string digits = name.substr(0, prefix.size()) == prefix ? name.substr(5) : "";
  DRML_CHECK(!digits.empty() && digits.size() < 6 &&
                 digits.find_first_not_of("0123456789") == std::string::npos,
             "unknown device '", name, "'; known are 'cpu' and 'cuda[:n]'");
  return {true, std::stoi(digits)};
}

std::string device_name(const Device& device) {
  return device.cuda ? "cuda:" + std::to_string(device.index) : "cpu";
}

}  // namespace drml
