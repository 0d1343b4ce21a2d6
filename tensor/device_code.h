// Plain C++ that the kernels of every device share. nvcc must be told which functions are for the
// GPU, unless they are constexpr; other compilers need no word.
#pragma once

#ifdef __CUDACC__
#define PROXENT_DEVICE_CODE __host__ __device__
#else
#define PROXENT_DEVICE_CODE
#endif
