// What AddressSanitizer and ThreadSanitizer have to be told about fibers and device memory; empty
// functions in other builds.
#pragma once

#include <cstddef>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define DRML_EMULATOR_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#define DRML_EMULATOR_TSAN 1
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

// For functions that switch stacks: ThreadSanitizer would count their entry on one fiber and their
// exit on another.
#define DRML_EMULATOR_SWITCHES_STACKS __attribute__((no_sanitize_thread, noinline))

namespace drml_emulator {

#ifdef DRML_EMULATOR_TSAN
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

#ifdef DRML_EMULATOR_ASAN
constexpr bool kAddressSanitizer = true;
inline void poison(const void* memory, size_t bytes) { __asan_poison_memory_region(memory, bytes); }
inline void unpoison(const void* memory, size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
#else
constexpr bool kAddressSanitizer = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
#endif

// A stack as AddressSanitizer knows it: its bounds, and what it keeps for a stack that is left.
struct StackBounds {
  const void* bottom = nullptr;
  size_t size = 0;
  void* left = nullptr;
};

#ifdef DRML_EMULATOR_ASAN
inline void before_switch(StackBounds* from, const StackBounds& to) {
  __sanitizer_start_switch_fiber(&from->left, to.bottom, to.size);
}
// After a switch to `to`. Where a host thread's own stack lies is learnt here, when it is left.
inline void after_switch(const StackBounds& to, StackBounds* from = nullptr) {
  __sanitizer_finish_switch_fiber(to.left, from == nullptr ? nullptr : &from->bottom,
                                  from == nullptr ? nullptr : &from->size);
}
#else
inline void before_switch(StackBounds*, const StackBounds&) {}
inline void after_switch(const StackBounds&, StackBounds* = nullptr) {}
#endif

// ThreadSanitizer sees each CUDA thread as a thread of its own. Only release and acquire order what
// two of them do.
#ifdef DRML_EMULATOR_TSAN
__attribute__((no_sanitize_thread)) inline void* race_current() {
  return __tsan_get_current_fiber();
}
__attribute__((no_sanitize_thread)) inline void race_switch(void* fiber) {
  __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
}
__attribute__((no_sanitize_thread)) inline void race_release(void* point) { __tsan_release(point); }
__attribute__((no_sanitize_thread)) inline void race_acquire(void* point) { __tsan_acquire(point); }

// What ThreadSanitizer knows CUDA threads by takes long to make, so a grid uses those of the grids
// before it. No two threads of one grid share one: that would hide their races.
class RaceThreads {
 public:
  __attribute__((no_sanitize_thread)) void* take() {
    if (idle_.empty()) return __tsan_create_fiber(0);
    void* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }
  void give_back(void* fiber) { keep(fiber, &spent_); }
  void end_grid() {
    for (void* fiber : spent_) keep(fiber, &idle_);
    spent_.clear();
  }

 private:
  // There is room for about 8,000, and every one makes an acquisition slower.
  static constexpr size_t kMost = 1024;

  __attribute__((no_sanitize_thread)) static void keep(void* fiber, std::vector<void*>* fibers) {
    if (fibers->size() < kMost) {
      fibers->push_back(fiber);
    } else {
      __tsan_destroy_fiber(fiber);
    }
  }

  std::vector<void*> idle_;
  std::vector<void*> spent_;  // by the grid that runs
};
#else
inline void* race_current() { return nullptr; }
inline void race_switch(void*) {}
inline void race_release(void*) {}
inline void race_acquire(void*) {}

struct RaceThreads {
  void* take() { return nullptr; }
  void give_back(void*) {}
  void end_grid() {}
};
#endif

// While one lives, the emulator's own reads and writes are not taken for the kernel's.
class RacesIgnored {
 public:
#ifdef DRML_EMULATOR_TSAN
  RacesIgnored() {
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
  }
  ~RacesIgnored() {
    AnnotateIgnoreWritesEnd("", 0);
    AnnotateIgnoreReadsEnd("", 0);
  }
#else
  RacesIgnored() {}
#endif
  RacesIgnored(const RacesIgnored&) = delete;
  RacesIgnored& operator=(const RacesIgnored&) = delete;
};

}  // namespace drml_emulator
