// Which micro-kernels run: the best that this CPU has, unless STRIATE_ISA or set_isa pins one.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"

namespace striate::cpu {

/// The table in use. The first call reads STRIATE_ISA and throws std::invalid_argument if that
/// names an instruction set which this build or this CPU lacks.
const Kernels& kernels();

/// Pins one of supported_isas(), or "auto" for the best of them; throws std::invalid_argument.
void set_isa(const std::string& name);

/// What this build and this CPU both have, slowest first: of "baseline", "avx2", "avx512".
std::vector<std::string> supported_isas();

/// Name of the table in use, and the reason it was chosen, for `striate info`.
std::string isa_name();
std::string isa_reason();

}  // namespace striate::cpu
