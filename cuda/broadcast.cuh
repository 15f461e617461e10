// Loops over a tensor with parameters that are broadcast over some of its axes, such as one scale
// per channel, and sums over the numbers of each parameter.
#pragma once

#include "reduce.cuh"
#include "strided.cuh"

namespace drml {
namespace cuda {

// A tensor as lines, each along the innermost axis of its memory. A block of threads takes
// `lanes` numbers at a time of each of several lines, within `span` numbers of a line.
struct BroadcastLines {
  Strided<1> parameter;  // where a line's first parameter lies
  int64_t count;
  int64_t length;
  int64_t step;  // of the parameters along a line
  int64_t span;
  int lanes;  // divide the threads of a block
};

// Calls f(i, parameters) for this thread's numbers i, where parameters = load(p) are those at p.
template <typename Load, typename F>
__device__ inline void for_each_number(const BroadcastLines& lines, Load load, F f) {
  const int64_t line =
      static_cast<int64_t>(blockIdx.x) * (blockDim.x / lines.lanes) + threadIdx.x / lines.lanes;
  if (line >= lines.count) return;
  const int64_t p = lines.parameter.place(line);
  const int64_t part = blockIdx.y * lines.span;
  const int64_t first = part + threadIdx.x % lines.lanes;
  const int64_t end = part + lines.span < lines.length ? part + lines.span : lines.length;
  const int64_t start = line * lines.length;
  if (lines.step == 0) {
    const auto parameters = load(p);
    for (int64_t i = first; i < end; i += lines.lanes) f(start + i, parameters);
  } else {
    for (int64_t i = first; i < end; i += lines.lanes) f(start + i, load(p + i * lines.step));
  }
}

// The numbers of each parameter, summed in parts that are added in their order.
struct BroadcastGroups {
  Strided<2> group;   // where a group's first number lies, and its parameter
  Strided<1> member;  // where the numbers of a group lie, from the first on
  int64_t count;
  int64_t members;  // of each group
  int64_t part;     // members that are summed together, fewer in the last part
  int parts;

  __device__ int64_t part_size(int64_t number) const {
    const int64_t rest = members - number * part;
    return rest < part ? rest : part;
  }
};

// What one block (kByBlock) or one thread sums: part blockIdx.y of a group. Blocks suit groups
// whose numbers are neighbours in memory, threads those that are each other's neighbours.
template <bool kByBlock>
struct Share {
  __device__ explicit Share(const BroadcastGroups& groups)
      : group(kByBlock ? blockIdx.x : static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x),
        size(group < groups.count ? groups.part_size(blockIdx.y) : 0),
        partial(blockIdx.y * groups.count + group) {
    groups.group.locate(size > 0 ? group : 0, place);
  }

  // Calls f(i) for this thread's numbers i.
  template <typename F>
  __device__ void for_each(const BroadcastGroups& groups, F f) const {
    const int64_t begin = blockIdx.y * groups.part;
    for (int64_t i = kByBlock ? threadIdx.x : 0; i < size; i += kByBlock ? blockDim.x : 1) {
      f(place[0] + groups.member.place(begin + i));
    }
  }

  // The sum over all threads that share the part; `shared` holds 32 numbers.
  __device__ float sum(float value, float* shared) const {
    return kByBlock ? block_sum(value, shared) : value;
  }

  // Whether this thread is the one to write the result.
  __device__ bool writes() const { return kByBlock ? threadIdx.x == 0 : size > 0; }

  int64_t group;
  int64_t size;
  int64_t partial;   // where the part's result goes
  int64_t place[2];  // of the group's first number, and of its parameter
};

// partial = the sums of the pairs f(i, p), for the numbers i and the place p of their parameter.
template <bool kByBlock, typename F>
__device__ inline void sum_pairs(const BroadcastGroups& groups, F f, float2* partial) {
  __shared__ float shared[32];
  const Share<kByBlock> share(groups);
  float first = 0;
  float second = 0;
  share.for_each(groups, [&](int64_t i) {
    const float2 pair = f(i, share.place[1]);
    first += pair.x;
    second += pair.y;
  });
  first = share.sum(first, shared);
  second = share.sum(second, shared);
  if (share.writes()) partial[share.partial] = make_float2(first, second);
}

struct Sums {
  double first;
  double second;
};

// A group's sums over all of its parts.
__device__ inline Sums add_parts(const BroadcastGroups& groups, int64_t group,
                                 const float2* partial) {
  Sums sums = {0, 0};
  for (int part = 0; part < groups.parts; ++part) {
    const float2 pair = partial[part * groups.count + group];
    sums.first += pair.x;
    sums.second += pair.y;
  }
  return sums;
}

// Adds a group's sums to the places of its parameter; one thread does so for a group. Both arrays
// may be null.
__device__ inline void add_group_sums(const BroadcastGroups& groups, const float2* partial,
                                      float* first, float* second) {
  const int64_t group = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (group >= groups.count) return;
  int64_t place[2];
  groups.group.locate(group, place);
  const Sums sums = add_parts(groups, group, partial);
  if (first != nullptr) first[place[1]] += static_cast<float>(sums.first);
  if (second != nullptr) second[place[1]] += static_cast<float>(sums.second);
}

}  // namespace cuda
}  // namespace drml
