// CUDA's execution model on the host: with this folder first in the include path, a .cu file of
// Striate is C++20 for an ordinary compiler on 64-bit Linux, and its kernels run.
//
//   g++ -x c++ -std=c++20 -ffp-contract=off -fno-strict-aliasing -Wno-unknown-pragmas
//       -Itests/cuda_host -I. -Icpp -Icpp/include cuda/softmax.cu ...
//
// Blocks run one after another. The threads of a block are fibres, which run until they meet at
// __syncthreads or a warp function. What a GPU would leave to chance is here refused with a report
// (threads at different barriers, masks that name absent lanes, deadlock, an overflowing stack) or
// made visible: shared memory and fresh device memory are NaN; memory has exactly the size that was
// asked for, so that AddressSanitizer sees its ends; vectors are aligned, so that UBSan sees a
// misaligned one; set_order() runs threads in another order, and a missing barrier shows in the
// bits.
//
// What it is not: it has no memory model (a write is seen at once, and a race inside one stretch
// between two meetings only shows if the order of whole stretches does), no timing, no limits of
// registers, no end to a loop that spins on memory, and no float atomics, because Striate has none.
// expf and its like are the C library's: results differ from a GPU's in the last bits. Tensor cores
// come with <mma.cuh>, Hopper's asynchronous copies with <hopper.cuh>, shared memory with
// <shared.cuh>.
#pragma once

#include "emulation/execution.h"
#include "emulation/intrinsics.h"
#include "emulation/language.h"
#include "emulation/launch.h"
#include "emulation/runtime.h"
