// Runs a kernel's threads on the CPU. The threads of a block are fibers of one host thread: a
// fiber runs one CUDA thread after another until one has to wait, at a barrier or for lanes of its
// warp; then the next fiber goes on. A kernel without barriers so needs a single stack.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vector_types.h"

namespace drml_emulator {

class Scheduler;

struct Geometry {
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
};

// What the thread that runs sees in its built-in variables.
struct Position {
  uint3 thread;
  unsigned int linear;  // index of the thread within its block
  uint3 block;
  dim3 block_size;
  dim3 grid_size;
  void* shared;
  Scheduler* scheduler;
};

// __thread and not thread_local: access then needs no check that it has been initialized.
extern __thread Position position;

using Body = void (*)(const void* arguments);  // of one thread of a kernel
void run_grid(const Geometry& geometry, Body body, const void* arguments);

// The rest is called by kernels. `mask` names the lanes that take part; each of them that has not
// returned has to make the same call.
void block_barrier(int line);
void warp_barrier(unsigned int mask);
uint64_t read_lane(unsigned int mask, uint64_t value, unsigned int lane);
unsigned int ballot(unsigned int mask, bool vote);

// Prints what is wrong, with block and thread if a kernel runs, and aborts.
[[noreturn]] void die(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace drml_emulator
