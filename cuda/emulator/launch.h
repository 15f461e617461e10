// Kernel launches, as portable.h spells them: launcher(kernel, grid, block, shared, stream)(...).
#pragma once

#include <cstddef>
#include <tuple>

#include "devices.h"
#include "fibers.h"
#include "runtime_api.h"
#include "streams.h"

namespace drml_emulator {

template <typename... Parameters>
class Launcher {
 public:
  using Kernel = void (*)(Parameters...);

  Launcher(Kernel kernel, const Geometry& geometry, cudaStream_t stream)
      : kernel_(kernel), geometry_(geometry), stream_(stream) {}

  // Arguments are converted to the kernel's parameters, and copied, at the launch.
  void operator()(Parameters... arguments) const {
    const cudaError_t status = check_launch(geometry_);
    if (status != cudaSuccess) {
      set_last_error(status);
      return;
    }
    const Call call{kernel_, std::tuple<Parameters...>(arguments...)};
    const int device = current_device();
    set_last_error(submit(stream_, [call, device, geometry = geometry_] {
      run_kernel(device, geometry, &Call::run, &call);
    }));
  }

 private:
  struct Call {
    Kernel kernel;
    std::tuple<Parameters...> arguments;

    static void run(const void* call) {
      const auto* self = static_cast<const Call*>(call);
      std::apply(self->kernel, self->arguments);
    }
  };

  Kernel kernel_;
  Geometry geometry_;
  cudaStream_t stream_;
};

template <typename... Parameters>
Launcher<Parameters...> launcher(void (*kernel)(Parameters...), dim3 grid, dim3 block,
                                 size_t shared_bytes = 0, cudaStream_t stream = nullptr) {
  return {kernel, {grid, block, shared_bytes}, stream};
}

template <typename T>
T* dynamic_shared() {
  return static_cast<T*>(position.shared);
}

}  // namespace drml_emulator
