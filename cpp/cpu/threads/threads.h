// What parallel.cc needs of a threading runtime. Three stand beside this file, and CMake builds one
// of them in (STRIATE_THREADS): team.cc, openmp.cc, serial.cc.
#pragma once

#include <cstdint>
#include <string>

namespace striate::cpu {

/// For `striate info`.
std::string threads_name();

/// Calls run(context, i) once for every i in [0, chunks), in any order, on up to `threads` threads,
/// this one among them, all of them with denormals flushed to zero and inside_chunk set. The first
/// exception of a chunk is thrown again here, and then some chunks may not have run. Returns false,
/// having done nothing, when other threads cannot be had now.
bool run_on_threads(int threads, int64_t chunks, void (*run)(void* context, int64_t chunk),
                    void* context);

/// This process is the child of a fork that lost its threads and cannot have new ones.
bool threads_forked_away();

/// This thread is running a chunk.
extern thread_local constinit bool inside_chunk;

}  // namespace striate::cpu
