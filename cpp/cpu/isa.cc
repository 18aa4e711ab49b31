#include "cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace striate::cpu {
namespace {

struct Isa {
  const char* name;
  const Kernels* kernels;
  bool (*supported)();
};

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
#if defined(STRIATE_EMULATE_AVX512)  // tests/avx512_host
  return has_avx2();
#else
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
}
#endif

// Slowest first. Only this table and CMakeLists.txt know which instruction sets exist.
constexpr Isa kIsas[] = {
    {"baseline", &baseline::kernels, [] { return true; }},
#if defined(__x86_64__)
    {"avx2", &avx2::kernels, has_avx2},
    {"avx512", &avx512::kernels, has_avx512},
#endif
};

struct Choice {
  const Isa* isa;
  const char* reason;
};

const Isa& best() {
  const Isa* found = &kIsas[0];
  for (const Isa& isa : kIsas) {
    if (isa.supported()) found = &isa;
  }
  return *found;
}

const Isa& find(const std::string& name, const char* who) {
  std::string known;
  for (const Isa& isa : kIsas) {
    if (name == isa.name && isa.supported()) return isa;
    if (isa.supported()) known += (known.empty() ? "" : ", ") + std::string(isa.name);
  }
  throw std::invalid_argument(std::string(who) + ": this CPU and build have no instruction set '" +
                              name + "', only " + known);
}

Choice from_environment() {
  const char* name = std::getenv("STRIATE_ISA");
  if (name == nullptr || *name == '\0') return {&best(), "the best that this CPU has"};
  return {&find(name, "STRIATE_ISA"), "STRIATE_ISA"};
}

std::atomic<const Isa*> pinned{nullptr};

// A failed initialisation is tried, and reported, again at the next call.
const Choice& default_choice() {
  static const Choice choice = from_environment();
  return choice;
}

Choice current() {
  const Isa* isa = pinned.load(std::memory_order_relaxed);
  return isa != nullptr ? Choice{isa, "set_isa"} : default_choice();
}

}  // namespace

const Kernels& kernels() { return *current().isa->kernels; }

void set_isa(const std::string& name) {
  pinned = name == "auto" ? nullptr : &find(name, "set_isa");
}

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) {
    if (isa.supported()) names.push_back(isa.name);
  }
  return names;
}

std::string isa_name() { return current().isa->name; }
std::string isa_reason() { return current().reason; }

}  // namespace striate::cpu
