// DRML_HOST_DEVICE: before a function that both a CPU's op and a kernel call.
#pragma once

#ifdef __CUDACC__
#define DRML_HOST_DEVICE __host__ __device__
#else
#define DRML_HOST_DEVICE
#endif
