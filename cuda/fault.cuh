// How kernels report bad values: the host words and raises them when it next reads results.
#pragma once

#include "portable.h"

namespace drml {
namespace cuda {

// Notes `value`, which is wrong and has number `index`, in a slot that Context::fault gave. Of many
// the one with the lowest number stays, whatever the order of the threads.
__device__ inline void report_fault(uint64_t* fault, int64_t index, float value) {
  atomicMin(reinterpret_cast<unsigned long long*>(fault),
            static_cast<unsigned long long>(index) << 32 | __float_as_uint(value));
}

}  // namespace cuda
}  // namespace drml
