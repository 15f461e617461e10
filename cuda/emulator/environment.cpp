#include "environment.h"

#include <cstdlib>
#include <cstring>

#include "fibers.h"
#include "sanitizers.h"

namespace drml_emulator {

namespace {

int64_t read_number(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const int64_t number = std::strtoll(text, &end, 10);
  if (*end != '\0') die("%s=%s is no number", name, text);
  return number;
}

}  // namespace

Order Order::from_environment() {
  const char* text = std::getenv("DRML_EMULATOR_ORDER");
  if (text == nullptr || std::strcmp(text, "fwd") == 0) return {};
  if (std::strcmp(text, "rev") == 0) return {Kind::kReverse, 0};
  if (std::strncmp(text, "rnd:", 4) == 0) {
    return {Kind::kRandom, static_cast<unsigned int>(std::strtoul(text + 4, nullptr, 10))};
  }
  die("DRML_EMULATOR_ORDER=%s is none of fwd, rev and rnd:SEED", text);
}

const Settings& settings() {
  static const Settings read = [] {
    Settings result;
    result.devices = read_number("DRML_EMULATOR_DEVICES", 1);
    result.memory = static_cast<size_t>(read_number("DRML_EMULATOR_MEMORY", int64_t{4} << 30));
    result.arch = read_number("DRML_EMULATOR_ARCH", 75);
    // AddressSanitizer needs shared memory that all host threads would share (kernel_language.h),
    // ThreadSanitizer a host thread per block (fibers.cpp).
    const int64_t threads = read_number("DRML_EMULATOR_THREADS", 1);
    result.threads = kAddressSanitizer || kThreadSanitizer ? 1 : static_cast<int>(threads);
    return result;
  }();
  return read;
}

}  // namespace drml_emulator
