#include "runtime_api.h"

namespace {

struct Description {
  cudaError_t error;
  const char* name;
  const char* text;
};

#define DRML_DESCRIBE(error, text) {error, #error, text}

constexpr Description kDescriptions[] = {
    DRML_DESCRIBE(cudaSuccess, "no error"),
    DRML_DESCRIBE(cudaErrorInvalidValue, "invalid argument"),
    DRML_DESCRIBE(cudaErrorMemoryAllocation, "out of memory"),
    DRML_DESCRIBE(cudaErrorInitializationError, "initialization error"),
    DRML_DESCRIBE(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    DRML_DESCRIBE(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    DRML_DESCRIBE(cudaErrorInsufficientDriver,
                  "CUDA driver version is insufficient for CUDA runtime version"),
    DRML_DESCRIBE(cudaErrorInvalidDeviceFunction, "invalid device function"),
    DRML_DESCRIBE(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    DRML_DESCRIBE(cudaErrorInvalidDevice, "invalid device ordinal"),
    DRML_DESCRIBE(cudaErrorNoKernelImageForDevice,
                  "no kernel image is available for execution on the device"),
    DRML_DESCRIBE(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    DRML_DESCRIBE(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    DRML_DESCRIBE(cudaErrorNotReady, "device not ready"),
    DRML_DESCRIBE(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    DRML_DESCRIBE(cudaErrorLaunchFailure, "unspecified launch failure"),
    DRML_DESCRIBE(cudaErrorNotSupported, "operation not supported"),
    DRML_DESCRIBE(cudaErrorStreamCaptureUnsupported,
                  "operation not permitted when stream is capturing"),
    DRML_DESCRIBE(cudaErrorStreamCaptureInvalidated,
                  "operation failed due to a previous error during capture"),
    DRML_DESCRIBE(cudaErrorStreamCaptureUnmatched,
                  "capture was not ended in the same stream as it began"),
    DRML_DESCRIBE(cudaErrorStreamCaptureIsolation,
                  "dependency created on uncaptured work in another stream"),
    DRML_DESCRIBE(cudaErrorStreamCaptureImplicit,
                  "operation would make the legacy stream depend on a capturing blocking stream"),
    DRML_DESCRIBE(cudaErrorCapturedEvent,
                  "operation not permitted on an event last recorded in a capturing stream"),
    DRML_DESCRIBE(cudaErrorStreamCaptureWrongThread,
                  "attempt to terminate a thread-local capture sequence from another thread"),
    DRML_DESCRIBE(cudaErrorUnknown, "unknown error"),
};

#undef DRML_DESCRIBE

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  for (const Description& description : kDescriptions) {
    if (description.error == error) return description.name;
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  for (const Description& description : kDescriptions) {
    if (description.error == error) return description.text;
  }
  return "unrecognized error code";
}
