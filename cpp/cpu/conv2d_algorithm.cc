#include "cpu/conv2d_algorithm.h"

#include <atomic>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include "cpu/winograd.h"

namespace striate::cpu {
namespace {

struct Algorithm {
  const char* name;
  Conv2dForward forward, backward_data;
};

constexpr Conv2dForward kGemm = {gemm_weights_size, gemm_prepare_weights, gemm_conv2d_forward};
constexpr Conv2dForward kDirect = {direct_weights_size, direct_prepare_weights,
                                   direct_conv2d_forward};
template <Conv2dPass kPass>
constexpr Conv2dForward kWinograd = {winograd_weights_size<kPass>, winograd_prepare_weights<kPass>,
                                     winograd_conv2d_forward<kPass>};

// In the order of the enumeration.
constexpr Algorithm kAlgorithms[] = {
    {"gemm", kGemm, kGemm},
    {"winograd", kWinograd<Conv2dPass::forward>, kWinograd<Conv2dPass::backward_data>},
    {"direct", kDirect, kDirect},
};

Conv2dAlgorithm find(const std::string& name, const char* who) {
  std::string known;
  int i = 0;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (name == algorithm.name) return static_cast<Conv2dAlgorithm>(i);
    known += (i++ == 0 ? "" : ", ") + std::string(algorithm.name);
  }
  throw std::invalid_argument(std::string(who) + ": must be one of " + known + ", got '" + name +
                              "'");
}

std::optional<Conv2dAlgorithm> from_environment() {
  const char* const name = std::getenv("STRIATE_CONV");
  if (name == nullptr || *name == '\0') return std::nullopt;
  return find(name, "STRIATE_CONV");
}

constexpr int kNobody = -1;
std::atomic<int> pinned{kNobody};

// A failed initialisation is tried, and reported, again at the next call.
std::optional<Conv2dAlgorithm> forced() {
  static const std::optional<Conv2dAlgorithm> algorithm = from_environment();
  const int chosen = pinned.load(std::memory_order_relaxed);
  return chosen == kNobody ? algorithm : static_cast<Conv2dAlgorithm>(chosen);
}

bool can_run(Conv2dAlgorithm algorithm, Conv2dPass pass, const Conv2dShape& s) {
  switch (algorithm) {
    case Conv2dAlgorithm::gemm:
      return true;
    case Conv2dAlgorithm::direct:
      return direct_can_run(pass, s);
    case Conv2dAlgorithm::winograd:
      break;
  }
  return winograd_can_run(s);
}

// Whether Winograd's fewer multiplications outweigh its transforms and its larger weights, by the
// arithmetic of one image and group. A transform costs about 20 multiplications for a channel at a
// point (measured on AlexNet's second layer), and works on 16 channels at a time. On maps of less
// than 49 pixels, one image's work is the reading of its weights, which are then up to 8 times more.
bool winograd_pays(Conv2dPass pass, const Conv2dShape& s) {
  constexpr double kTransform = 20, kGain = 0.75;
  constexpr int64_t kFewestPixels = 49;
  const bool turned = pass == Conv2dPass::backward_data;
  const int64_t height = turned ? s.H : s.P, width = turned ? s.W : s.Q;
  if (height * width < kFewestPixels) return false;
  const double C = s.C / s.G, K = s.K / s.G;
  const WinogradAxis h(height, s.R, WinogradAxes::most(pass, s.R));
  const WinogradAxis w(width, s.S, WinogradAxes::most(pass, s.S));
  const double places = (height + h.tiles * (s.R - 1.0)) * (width + w.tiles * (s.S - 1.0));
  const double transforms = kTransform * (round_up(s.C / s.G, 16) + round_up(s.K / s.G, 16));
  return places * (C * K + transforms) < kGain * height * width * s.R * s.S * C * K;
}

}  // namespace

Trace trace_conv2d(const char* op, const Conv2dShape& s, Conv2dAlgorithm algorithm) {
  return {op,
          {{"N", s.N},
           {"C", s.C},
           {"H", s.H},
           {"W", s.W},
           {"K", s.K},
           {"R", s.R},
           {"S", s.S},
           {"P", s.P},
           {"Q", s.Q},
           {"G", s.G},
           {"stride", s.stride_h},
           {"pad", s.pad_top},
           {"dilation", s.dilation_h}},
          {.flop = 2.0 * s.N * s.K * s.PQ() * s.CRS()},
          name_of(algorithm)};
}

const char* name_of(Conv2dAlgorithm algorithm) {
  return kAlgorithms[static_cast<int>(algorithm)].name;
}

void set_conv2d_algorithm(const std::string& name) {
  pinned = name == "auto" ? kNobody : static_cast<int>(find(name, "set_conv2d_algorithm"));
}

const Conv2dForward& conv2d_forward_of(Conv2dAlgorithm algorithm, Conv2dPass pass) {
  const Algorithm& chosen = kAlgorithms[static_cast<int>(algorithm)];
  return pass == Conv2dPass::backward_data ? chosen.backward_data : chosen.forward;
}

Conv2dAlgorithm conv2d_algorithm(Conv2dPass pass, const Conv2dShape& s) {
  if (const auto algorithm = forced(); algorithm && can_run(*algorithm, pass, s)) return *algorithm;
  if (direct_can_run(pass, s) && direct_is_best(pass, s)) return Conv2dAlgorithm::direct;
  if (winograd_can_run(s) && winograd_pays(pass, s)) return Conv2dAlgorithm::winograd;
  return Conv2dAlgorithm::gemm;
}

}  // namespace striate::cpu
