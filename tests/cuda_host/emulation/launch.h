// One launch: a grid of blocks, and what each of their threads calls.
#pragma once

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "language.h"

namespace striate::cuda_host {

struct Launch {
  const void* kernel;      // its address, which is its identity
  const char* parameters;  // text that names them, where the address has no name
  dim3 grid, block;
  std::size_t shared;
  std::function<void()> thread;
};

/// Runs it now. cudaErrorLaunchFailure after a fault.
cudaError_t run(const Launch& launch);
/// Checks it as the driver does, then runs it, or records it where the stream is being captured.
cudaError_t submit(Launch launch, cudaStream_t stream);

template <class... P, std::size_t... i>
std::function<void()> with_arguments(void (*kernel)(P...), void** arguments,
                                     std::index_sequence<i...>) {
  std::tuple<std::remove_cv_t<P>...> copies(*static_cast<std::remove_cv_t<P>*>(arguments[i])...);
  return [kernel, copies] { std::apply(kernel, copies); };
}

}  // namespace striate::cuda_host

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void** arguments,
                             std::size_t shared, cudaStream_t stream) {
  using namespace striate::cuda_host;
  return submit({reinterpret_cast<const void*>(kernel), __PRETTY_FUNCTION__, grid, block, shared,
                 with_arguments(kernel, arguments, std::index_sequence_for<P...>())},
                stream);
}
