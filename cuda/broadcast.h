// Makes broadcast.cuh's descriptions of tensors, and the launches that fit them.
#pragma once

#include <algorithm>
#include <vector>

#include "broadcast_axes.h"
#include "cuda/broadcast.cuh"
#include "cuda/context.h"
#include "cuda/strided.h"
#include "tensor.h"

namespace drml::cuda {

struct LinesLaunch {
  BroadcastLines lines;
  dim3 grid;
};

// For a dense x that is not empty, and a parameter that broadcast_axes takes.
inline LinesLaunch make_lines(const char* op, const Tensor& x, const Tensor& parameter,
                              int64_t axis) {
  constexpr int64_t kSpan = 16 * kBlock;
  constexpr int64_t kMaxParts = 1 << 15;
  std::vector<BroadcastAxis> axes = broadcast_axes(x, parameter, axis);
  BroadcastAxis inner{1, 1, 0};
  if (!axes.empty()) {
    inner = axes.back();
    axes.pop_back();
  }
  std::vector<Axis<1>> outer;
  for (const BroadcastAxis& each : axes) outer.push_back({each.size, {each.step}});
  BroadcastLines lines{};
  lines.parameter = merge_axes<1>(op, outer);
  lines.count = x.size() / inner.size;
  lines.length = inner.size;
  lines.step = inner.step;
  lines.lanes = 1;
  while (2 * lines.lanes <= std::min<int64_t>(lines.length, kBlock)) lines.lanes *= 2;
  lines.span = std::max(kSpan, (lines.length + kMaxParts - 1) / kMaxParts);
  const int64_t lines_of_block = kBlock / lines.lanes;
  return {lines, dim3(static_cast<unsigned>((lines.count + lines_of_block - 1) / lines_of_block),
                      static_cast<unsigned>((lines.length + lines.span - 1) / lines.span))};
}

struct GroupsLaunch {
  BroadcastGroups groups;
  bool by_block;
  dim3 grid;  // to sum parts, in blocks of `block` threads
  int block;
  int grid_parts;  // to add the parts, one thread per group
  int64_t partials;
};

// As for make_lines.
inline GroupsLaunch make_groups(const char* op, const Tensor& x, const Tensor& parameter,
                                int64_t axis) {
  constexpr int64_t kNumbersPerThread = 16;
  constexpr int64_t kMaxParts = 64;
  BroadcastGroups groups{};
  groups.count = 1;
  const std::vector<BroadcastAxis> axes = broadcast_axes(x, parameter, axis);
  std::vector<Axis<2>> group;
  std::vector<Axis<1>> member;
  for (const BroadcastAxis& each : axes) {
    if (each.step == 0) {
      member.push_back({each.size, {each.stride}});
    } else {
      group.push_back({each.size, {each.stride, each.step}});
      groups.count *= each.size;
    }
  }
  groups.group = merge_axes<2>(op, group);
  groups.member = merge_axes<1>(op, member);
  groups.members = x.size() / groups.count;
  const bool by_block = axes.empty() || axes.back().step == 0;
  const int64_t together = by_block ? kBlock * kNumbersPerThread : kNumbersPerThread;
  const int64_t parts = std::clamp<int64_t>(groups.members / together, 1, kMaxParts);
  groups.part = (groups.members + parts - 1) / parts;
  groups.parts = static_cast<int>((groups.members + groups.part - 1) / groups.part);
  const int block =
      by_block ? static_cast<int>(std::min<int64_t>((groups.part + 31) / 32 * 32, kBlock)) : kBlock;
  const int64_t blocks = by_block ? groups.count : (groups.count + kBlock - 1) / kBlock;
  return {groups,
          by_block,
          dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(groups.parts)),
          block,
          static_cast<int>((groups.count + kBlock - 1) / kBlock),
          groups.count * groups.parts};
}

}  // namespace drml::cuda
