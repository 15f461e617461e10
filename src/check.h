// DRML_CHECK: throws std::invalid_argument with a message put together from its arguments.
#pragma once

#include <sstream>
#include <stdexcept>

namespace drml {

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

}  // namespace drml

#define DRML_CHECK(condition, ...)               \
  do {                                           \
    if (!(condition)) ::drml::fail(__VA_ARGS__); \
  } while (false)
