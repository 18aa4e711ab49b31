#include "cuda/precision.h"

#include <atomic>

namespace striate::cuda {
namespace {

std::atomic<Precision> chosen{Precision::float32};

}  // namespace

Precision precision() { return chosen; }
void set_precision(Precision precision) { chosen = precision; }

}  // namespace striate::cuda
