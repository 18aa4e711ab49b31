#include "backend.h"

#include <pybind11/stl.h>

#include <atomic>
#include <cstdlib>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "cpu/peak.h"

namespace striate::bindings {
namespace {

bool is_reference(const std::string& name, const char* who) {
  if (name == "reference") return true;
  if (name == "cpu") return false;
  throw py::value_error(std::string(who) + ": backend must be 'cpu' or 'reference', got '" + name +
                        "'");
}

enum class Choice { unset, cpu, reference };
std::atomic<Choice> choice{Choice::unset};

// Read at the first op, so that a wrong value is that op's error and not a failed import.
Choice from_environment() {
  const char* name = std::getenv("STRIATE_BACKEND");
  const bool reference = name != nullptr && *name != '\0' && is_reference(name, "STRIATE_BACKEND");
  return reference ? Choice::reference : Choice::cpu;
}

}  // namespace

bool use_reference() {
  if (choice == Choice::unset) choice = from_environment();
  return choice == Choice::reference;
}

void register_backend(py::module_& m) {
  m.def(
      "set_backend",
      [](const std::string& name) {
        choice = is_reference(name, "set_backend") ? Choice::reference : Choice::cpu;
      },
      py::arg("name"));
  m.def("get_backend", [] { return use_reference() ? "reference" : "cpu"; });
  m.def("set_isa", &cpu::set_isa, py::arg("name"));
  m.def("supported_isas", &cpu::supported_isas);
  m.def("isa_name", &cpu::isa_name);
  m.def("isa_reason", &cpu::isa_reason);
  m.def("set_num_threads", &cpu::set_num_threads, py::arg("threads"));
  m.def("get_num_threads", &cpu::num_threads);
  m.def("num_threads_reason", &cpu::num_threads_reason);
  m.def("threading_runtime", &cpu::threading_runtime);
  m.def("peak_gflops", &cpu::peak_gflops, py::arg("seconds"), py::call_guard<WithoutGil>());
  m.def(
      "peak_bandwidth",
      [](int passes) {
        const cpu::PeakBandwidth best = cpu::peak_bandwidth(passes);
        return std::pair(best.read, best.update);
      },
      py::arg("passes"), py::call_guard<WithoutGil>());
  m.def("cuda_decision", [] { return STRIATE_CUDA_DECISION; });
  m.def("empty_cache", &cpu::empty_cache);
  m.def("cached_bytes", &cpu::cached_bytes);
}

}  // namespace striate::bindings
