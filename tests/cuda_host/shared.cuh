// The block's dynamic shared memory. (cuda/device has the same name for kernels on a GPU.)
#pragma once

#include "emulation/execution.h"

namespace striate::cuda {

/// The block's shared memory as a T: NaN, in bytes of 0xFF, at the block's start.
template <class T>
T& shared_memory() {
  return *static_cast<T*>(cuda_host::shared_bytes(sizeof(T)));
}

}  // namespace striate::cuda
