#include "fibers.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "devices.h"
#include "environment.h"
#include "sanitizers.h"

#ifndef __x86_64__
#error "The CUDA emulator switches stacks in x86-64 assembly."
#endif

#ifndef DRML_EMULATOR_DROP_BARRIER
#define DRML_EMULATOR_DROP_BARRIER 0
#endif
#ifndef DRML_EMULATOR_SHRINK_SHARED
#define DRML_EMULATOR_SHRINK_SHARED 0
#endif

namespace drml_emulator {

__thread Position position{};

namespace {

constexpr unsigned int kWarpSize = 32;
constexpr size_t kStackBytes = (kThreadSanitizer ? 64 : 256) << 10;

// Pushes the registers that a call preserves, and goes on where another stack left them.
__attribute__((naked, noinline, no_sanitize_thread)) void switch_stacks(void** /*save_to*/,
                                                                        void* /*load*/) {
  asm(R"(
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
  )");
}

struct Fiber {
  // The first switch to a fiber pops six registers and returns into `entry`. Stacks start at
  // different offsets within their pages, or all of them would compete for the same cache lines.
  Fiber(void (*entry)(), size_t number)
      : stack(static_cast<char*>(std::aligned_alloc(4096, kStackBytes))) {
    constexpr size_t kRegisters = 6;
    auto** top = reinterpret_cast<void**>(stack + kStackBytes - number * 320 % 16384) - 2;
    *top = reinterpret_cast<void*>(entry);
    top -= kRegisters;
    std::memset(top, 0, kRegisters * sizeof(void*));
    stack_pointer = top;
    bounds.bottom = stack;
    bounds.size = kStackBytes;
  }
  ~Fiber() { std::free(stack); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  char* stack;
  void* stack_pointer;  // while the fiber does not run
  StackBounds bounds;
};

enum class State : uint8_t { kReady, kAtBarrier, kInWarp, kReturned };

struct Thread {
  uint3 index{};
  unsigned int linear = 0;
  State state = State::kReturned;
  Fiber* fiber = nullptr;
  void* race_thread = nullptr;
  int barriers = 0;  // reached so far, counted if one is to be dropped
  // What it gives to its warp, and what it gets.
  unsigned int mask = 0;
  unsigned int source = 0;  // the lane that it reads
  uint64_t value = 0;
  unsigned int came = 0;  // lanes that took part
  unsigned int votes = 0;
  uint64_t received = 0;
  // Of the warp barriers whose lowest lane it is, as below for the block's.
  unsigned int warp_barriers = 0;
  std::array<char, 2> warp_points{};
};

struct Warp {
  unsigned int live = 0;     // lanes that have not returned
  unsigned int waiting = 0;  // lanes that wait for others
};

constexpr unsigned int kNoSource = kWarpSize;

// Where ThreadSanitizer sees a grid's threads begin, after what the host has done, and end.
char thread_begin;
char grid_end;
RaceThreads race_threads;  // grids run one after another

}  // namespace

// Runs blocks on one host thread, which has its own.
class Scheduler {
 public:
  static Scheduler& of_this_thread() {
    static thread_local Scheduler scheduler;
    return scheduler;
  }

  void begin(const Geometry& geometry, const Order& order, Body body, const void* arguments);
  void run_block(int64_t number);
  void end();

  // Called by the thread that runs.
  void block_barrier(int line);
  void warp_barrier(unsigned int mask);
  const Thread& meet_lanes(unsigned int mask, uint64_t value, unsigned int source);

 private:
  static void fiber_main();

  void run_threads(Fiber* fiber);
  void enter(Fiber* fiber);
  void leave(Fiber* fiber);
  void wait(Thread* thread);
  void make_current(Thread* thread);
  Thread* next_ready();
  Fiber* idle_fiber();
  void release_barrier();
  void resume_ready();
  [[noreturn]] void report_deadlock();
  void check_mask(unsigned int mask) const;
  bool release_lanes(unsigned int warp, unsigned int mask);
  void thread_returned(Thread* thread);

  dim3 block_size_{0, 0, 0};
  Order order_;
  unsigned int count_ = 0;  // threads of a block
  Body body_ = nullptr;
  const void* arguments_ = nullptr;
  std::unique_ptr<void, decltype(&std::free)> shared_{nullptr, &std::free};
  size_t shared_bytes_ = 0;

  std::array<Thread, kMaxThreads> threads_;
  std::array<Warp, kMaxThreads / kWarpSize> warps_;
  std::array<uint16_t, kMaxThreads> turns_{};  // threads in the order in which they run
  Thread* running_ = nullptr;
  unsigned int turn_ = 0;
  unsigned int started_ = 0;
  unsigned int returned_ = 0;
  unsigned int at_barrier_ = 0;
  int barrier_line_ = 0;
  unsigned int barriers_ = 0;  // that the block has passed

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* entered_ = nullptr;
  Fiber* spent_ = nullptr;         // to be deleted
  void* stack_pointer_ = nullptr;  // of the host thread, while a fiber runs
  StackBounds bounds_;

  void* race_thread_ = nullptr;
  std::array<char, 2> barrier_points_{};  // for ThreadSanitizer, in turn
};

// One launch --------------------------------------------------------------------------------------

void Scheduler::begin(const Geometry& geometry, const Order& order, Body body,
                      const void* arguments) {
  const dim3 size = geometry.block;
  const bool same = size.x == block_size_.x && size.y == block_size_.y && size.z == block_size_.z;
  if (!same || !(order == order_)) {
    block_size_ = size;
    order_ = order;
    count_ = size.x * size.y * size.z;
    for (unsigned int i = 0; i < count_; ++i) {
      threads_[i].index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
      threads_[i].linear = i;
      turns_[i] = static_cast<uint16_t>(i);
    }
    order.apply(turns_.begin(), turns_.begin() + count_);
  }
  body_ = body;
  arguments_ = arguments;
  shared_bytes_ =
      geometry.shared_bytes - std::min<size_t>(geometry.shared_bytes, DRML_EMULATOR_SHRINK_SHARED);
  shared_.reset(std::malloc(std::max<size_t>(shared_bytes_, 1)));
  position.block_size = size;
  position.grid_size = geometry.grid;
  position.shared = shared_.get();
  position.scheduler = this;
  race_thread_ = race_current();
}

void Scheduler::end() {
  shared_.reset();
  position = {};
}

DRML_EMULATOR_SWITCHES_STACKS void Scheduler::run_block(int64_t number) {
  const dim3 grid = position.grid_size;
  position.block = {static_cast<unsigned int>(number % grid.x),
                    static_cast<unsigned int>(number / grid.x % grid.y),
                    static_cast<unsigned int>(number / grid.x / grid.y)};
  // Whatever the last block left there must not look like a result of this one.
  std::memset(shared_.get(), 0xff, shared_bytes_);
  for (unsigned int warp = 0; warp * kWarpSize < count_; ++warp) {
    const unsigned int lanes = std::min(count_ - warp * kWarpSize, kWarpSize);
    warps_[warp] = {~0u >> (kWarpSize - lanes), 0};
  }
  started_ = 0;
  returned_ = 0;
  at_barrier_ = 0;
  barriers_ = 0;
  while (returned_ < count_) {
    if (started_ < count_) {
      enter(idle_fiber());
      continue;
    }
    if (at_barrier_ > 0 && at_barrier_ + returned_ == count_) release_barrier();
    resume_ready();
  }
  running_ = nullptr;
}

// One turn of each thread that can go on. Most turns pass from fiber to fiber, in `wait`.
DRML_EMULATOR_SWITCHES_STACKS void Scheduler::resume_ready() {
  turn_ = 0;
  Thread* thread = next_ready();
  if (thread == nullptr) report_deadlock();
  for (; thread != nullptr; thread = next_ready()) {
    make_current(thread);
    enter(thread->fiber);
  }
}

Thread* Scheduler::next_ready() {
  while (turn_ < count_) {
    Thread* thread = &threads_[turns_[turn_++]];
    if (thread->state == State::kReady) return thread;
  }
  return nullptr;
}

DRML_EMULATOR_SWITCHES_STACKS void Scheduler::make_current(Thread* thread) {
  running_ = thread;
  position.thread = thread->index;
  position.linear = thread->linear;
  race_switch(thread->race_thread);
}

void Scheduler::report_deadlock() {
  for (unsigned int turn = 0; turn < count_; ++turn) {
    const Thread& thread = threads_[turns_[turn]];
    if (thread.state != State::kInWarp) continue;
    position.thread = thread.index;
    die("deadlock: the thread waits for lanes %08x of its warp, which do not all come",
        thread.mask);
  }
  die("deadlock");
}

// Fibers ------------------------------------------------------------------------------------------

DRML_EMULATOR_SWITCHES_STACKS void Scheduler::enter(Fiber* fiber) {
  entered_ = fiber;
  before_switch(&bounds_, fiber->bounds);
  switch_stacks(&stack_pointer_, fiber->stack_pointer);
  after_switch(bounds_);
  if (spent_ == nullptr) return;
  for (auto& owner : fibers_) {
    if (owner.get() == spent_) owner.swap(fibers_.back());
  }
  fibers_.pop_back();
  spent_ = nullptr;
}

DRML_EMULATOR_SWITCHES_STACKS void Scheduler::leave(Fiber* fiber) {
  race_switch(race_thread_);
  before_switch(&fiber->bounds, bounds_);
  switch_stacks(&fiber->stack_pointer, stack_pointer_);
  after_switch(fiber->bounds);
}

// Leaves a thread that cannot go on before others have run.
DRML_EMULATOR_SWITCHES_STACKS void Scheduler::wait(Thread* thread) {
  Fiber* fiber = thread->fiber;
  Thread* next = started_ == count_ ? next_ready() : nullptr;
  if (next == nullptr) {
    leave(fiber);
    return;
  }
  make_current(next);
  before_switch(&fiber->bounds, next->fiber->bounds);
  switch_stacks(&fiber->stack_pointer, next->fiber->stack_pointer);
  after_switch(fiber->bounds);
}

Fiber* Scheduler::idle_fiber() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(&Scheduler::fiber_main, fibers_.size()));
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

DRML_EMULATOR_SWITCHES_STACKS void Scheduler::fiber_main() {
  Scheduler& scheduler = *position.scheduler;
  Fiber* fiber = scheduler.entered_;
  after_switch(fiber->bounds, &scheduler.bounds_);
  scheduler.run_threads(fiber);
}

DRML_EMULATOR_SWITCHES_STACKS void Scheduler::run_threads(Fiber* fiber) {
  for (;;) {
    while (started_ < count_) {
      Thread& thread = threads_[turns_[started_++]];
      thread.fiber = fiber;
      thread.state = State::kReady;
      thread.barriers = 0;
      thread.race_thread = race_threads.take();
      race_release(&thread_begin);
      make_current(&thread);
      race_acquire(&thread_begin);
      body_(arguments_);
      race_release(&grid_end);
      race_switch(race_thread_);
      race_threads.give_back(thread.race_thread);
      thread_returned(&thread);
      if (kThreadSanitizer) {
        // It would take the next thread's use of the same stack for a race.
        spent_ = fiber;
        leave(fiber);
      }
    }
    idle_.push_back(fiber);
    leave(fiber);
  }
}

void Scheduler::thread_returned(Thread* thread) {
  thread->state = State::kReturned;
  ++returned_;
  const unsigned int number = thread->linear / kWarpSize;
  Warp& warp = warps_[number];
  warp.live &= ~(1u << thread->linear % kWarpSize);
  // Others may have waited for nobody else. Each release takes lanes out of `waiting`.
  for (unsigned int lanes = warp.waiting; lanes != 0; lanes &= lanes - 1) {
    const Thread& other = threads_[number * kWarpSize + __builtin_ctz(lanes)];
    if (other.state == State::kInWarp) release_lanes(number, other.mask);
  }
}

// Waiting -----------------------------------------------------------------------------------------

DRML_EMULATOR_SWITCHES_STACKS void Scheduler::block_barrier(int line) {
  const RacesIgnored ignored;
  Thread& thread = *running_;
  if (DRML_EMULATOR_DROP_BARRIER > 0 && ++thread.barriers == DRML_EMULATOR_DROP_BARRIER) return;
  if (at_barrier_ > 0 && line != barrier_line_) {
    die("divergent barrier: the thread waits at __syncthreads in line %d, others in line %d", line,
        barrier_line_);
  }
  barrier_line_ = line;
  ++at_barrier_;
  thread.state = State::kAtBarrier;
  // Threads may be at the next barrier before the last one has left this one.
  char* point = &barrier_points_[barriers_ % 2];
  race_release(point);
  wait(&thread);
  race_acquire(point);
}

void Scheduler::release_barrier() {
  for (unsigned int i = 0; i < count_; ++i) {
    Thread& thread = threads_[i];
    if (thread.state != State::kAtBarrier) continue;
    thread.state = State::kReady;
    if (returned_ == 0) continue;
    position.thread = thread.index;
    die("the thread waits at __syncthreads in line %d, but others of its block have returned (%u)",
        barrier_line_, returned_);
  }
  at_barrier_ = 0;
  ++barriers_;
}

void Scheduler::check_mask(unsigned int mask) const {
  const unsigned int lane = running_->linear % kWarpSize;
  if ((mask >> lane & 1) == 0) die("lane %u is not in its own mask %08x", lane, mask);
}

// Orders memory, which shuffles and votes do not.
DRML_EMULATOR_SWITCHES_STACKS void Scheduler::warp_barrier(unsigned int mask) {
  const RacesIgnored ignored;
  check_mask(mask);
  const unsigned int first_lane = running_->linear / kWarpSize * kWarpSize;
  Thread& lowest = threads_[first_lane + __builtin_ctz(mask)];
  char* point = &lowest.warp_points[lowest.warp_barriers % 2];
  race_release(point);
  meet_lanes(mask, 0, kNoSource);
  race_acquire(point);
}

DRML_EMULATOR_SWITCHES_STACKS const Thread& Scheduler::meet_lanes(unsigned int mask, uint64_t value,
                                                                  unsigned int source) {
  const RacesIgnored ignored;
  Thread& thread = *running_;
  const unsigned int number = thread.linear / kWarpSize;
  check_mask(mask);
  thread.mask = mask;
  thread.value = value;
  thread.source = source;
  thread.state = State::kInWarp;
  warps_[number].waiting |= 1u << thread.linear % kWarpSize;
  if (!release_lanes(number, mask)) wait(&thread);
  thread.state = State::kReady;
  if (source != kNoSource && (thread.came >> source & 1) == 0) {
    die("the thread reads lane %u, which does not take part (mask %08x)", source, mask);
  }
  return thread;
}

// Lets the lanes of `mask` go on if all of them that have not returned wait with that mask.
bool Scheduler::release_lanes(unsigned int number, unsigned int mask) {
  Warp& warp = warps_[number];
  Thread* lanes = &threads_[number * kWarpSize];
  const unsigned int coming = mask & warp.live;
  if (coming == 0 || (warp.waiting & coming) != coming) return false;
  unsigned int votes = 0;
  for (unsigned int rest = coming; rest != 0; rest &= rest - 1) {
    const Thread& thread = lanes[__builtin_ctz(rest)];
    if (thread.mask != mask) return false;
    if (thread.value != 0) votes |= rest & -rest;
  }
  for (unsigned int rest = coming; rest != 0; rest &= rest - 1) {
    Thread& thread = lanes[__builtin_ctz(rest)];
    thread.came = coming;
    thread.votes = votes;
    if (thread.source != kNoSource) thread.received = lanes[thread.source].value;
    thread.state = State::kReady;
  }
  warp.waiting &= ~coming;
  ++lanes[__builtin_ctz(mask)].warp_barriers;
  return true;
}

DRML_EMULATOR_SWITCHES_STACKS void block_barrier(int line) {
  position.scheduler->block_barrier(line);
}

DRML_EMULATOR_SWITCHES_STACKS void warp_barrier(unsigned int mask) {
  position.scheduler->warp_barrier(mask);
}

uint64_t read_lane(unsigned int mask, uint64_t value, unsigned int lane) {
  return position.scheduler->meet_lanes(mask, value, lane).received;
}

unsigned int ballot(unsigned int mask, bool vote) {
  return position.scheduler->meet_lanes(mask, vote ? 1 : 0, kNoSource).votes;
}

void die(const char* format, ...) {
  char what[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(what, sizeof(what), format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "CUDA emulator: %s", what);
  if (position.scheduler != nullptr) {
    std::fprintf(stderr, "; block (%u, %u, %u), thread (%u, %u, %u)", position.block.x,
                 position.block.y, position.block.z, position.thread.x, position.thread.y,
                 position.thread.z);
  }
  std::fputc('\n', stderr);
  std::abort();
}

// Grids -------------------------------------------------------------------------------------------

void run_grid(const Geometry& geometry, Body body, const void* arguments) {
  const Order order = Order::from_environment();
  const int64_t count = int64_t{geometry.grid.x} * geometry.grid.y * geometry.grid.z;
  std::vector<int64_t> turns;
  if (order.kind == Order::Kind::kRandom) {
    turns.resize(static_cast<size_t>(count));
    std::iota(turns.begin(), turns.end(), 0);
    order.apply(turns.begin(), turns.end());
  }
  const auto block = [&](int64_t turn) {
    if (order.kind == Order::Kind::kRandom) return turns[static_cast<size_t>(turn)];
    return order.kind == Order::Kind::kReverse ? count - 1 - turn : turn;
  };
  if (kThreadSanitizer) {
    // A host thread per block, so that no block sees another's __shared__ variables. They run one
    // after another, which ThreadSanitizer does not know of: it sees the fibers.
    for (int64_t turn = 0; turn < count; ++turn) {
      std::thread([&] {
        const RacesIgnored ignored;
        Scheduler& scheduler = Scheduler::of_this_thread();
        scheduler.begin(geometry, order, body, arguments);
        scheduler.run_block(block(turn));
        scheduler.end();
      }).join();
    }
    race_acquire(&grid_end);
    race_threads.end_grid();
    return;
  }
  std::atomic<int64_t> next{0};
  const auto share = [&] {
    Scheduler& scheduler = Scheduler::of_this_thread();
    scheduler.begin(geometry, order, body, arguments);
    for (int64_t turn = next++; turn < count; turn = next++) scheduler.run_block(block(turn));
    scheduler.end();
  };
  const int threads = settings().threads;
  if (threads == 1 || count == 1) {
    share();
  } else {
#pragma omp parallel num_threads(threads)
    share();
  }
}

}  // namespace drml_emulator
