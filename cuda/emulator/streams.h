// Streams run at once what they are given, or record it while they are captured.
#pragma once

#include <functional>

#include "fibers.h"
#include "runtime_api.h"

namespace drml_emulator {

// Runs an operation on a stream, or records it for the graph that the stream is captured into.
cudaError_t submit(cudaStream_t stream, std::function<void()> operation);

// For calls that wait or allocate: fails while streams are captured, and spoils the captures.
cudaError_t before_unsafe_call();

cudaError_t check_launch(const Geometry& geometry);
void run_kernel(int device, const Geometry& geometry, Body body, const void* arguments);

}  // namespace drml_emulator
