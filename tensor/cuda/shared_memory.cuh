// Dynamic shared memory: the bytes that launch_kernel's `shared_bytes` asks for.
#pragma once

#include <cuda_runtime.h>

namespace proxent::cuda {

// The block's dynamic shared memory, aligned to 16. There is one: all calls return the same
// address.
template <class T>
__device__ inline T* dynamic_shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
#else
  return reinterpret_cast<T*>(cuda_emulator::dynamic_shared_memory());
#endif
}

}  // namespace proxent::cuda
