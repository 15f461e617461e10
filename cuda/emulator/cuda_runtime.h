// Stands in for CUDA's own header: with this folder on the include path, g++ compiles .cu files and
// their kernels run on the CPU. Define DRML_CUDA_EMULATOR and compile the folder's .cpp files too.
//
// A block's threads are fibers that run in turn (fibers.h); streams run at once what they are given
// (streams.h). What a GPU does not tell, sanitizer builds do: AddressSanitizer finds kernels out of
// bounds of global and shared memory and hosts that touch device memory, ThreadSanitizer finds
// missing barriers and updates that are not atomic. Speed, rounding and the order in which a GPU
// runs streams are not emulated.
//
// Environment, for tests:
//   DRML_EMULATOR_ORDER=fwd|rev|rnd:SEED  order of blocks, and of threads in them; read at each
//   launch DRML_EMULATOR_THREADS=n   host threads that share a launch's blocks (1; always 1 with
//   sanitizers) DRML_EMULATOR_DEVICES=n   devices (1); 0: none, -1: no driver
//   DRML_EMULATOR_MEMORY=n    bytes of memory per device (4 GiB)
//   DRML_EMULATOR_ARCH=n      compute capability times ten (75); below 35: no code for the device
// All but the first are read once. Compile-time switches, which break kernels to show that the
// sanitizers notice:
//   DRML_EMULATOR_DROP_BARRIER=n   every thread ignores the n-th __syncthreads that it reaches
//   DRML_EMULATOR_SHRINK_SHARED=n  dynamic shared memory is n bytes shorter than asked for
#pragma once

#include "kernel_language.h"
#include "launch.h"
#include "runtime_api.h"
#include "vector_types.h"
