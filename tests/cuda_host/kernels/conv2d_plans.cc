// The three passes of conv2d with each of their tiles, in each arithmetic, with one slice, three, and
// one for each panel.
#include <cmath>
#include <functional>

#include "cuda/conv2d_backward_data.cuh"
#include "cuda/conv2d_backward_weight.cuh"
#include "cuda/conv2d_forward.cuh"
#include "cuda/float32.cuh"
#include "cuda/tensor/tensor_core.cuh"
#include "plans.h"

namespace striate::kernel_tests {
namespace {

/// Channels and pixels about as many as a product needs rows, columns and depth.
struct Sizes {
  int64_t channels_in, channels_out, pixels;
};

/// An image, or two, of about so many output pixels, with a kernel, strides and pads as they come.
Conv2dShape draw_shape(const Sizes& sizes, Random& random) {
  Conv2dShape s{};
  s.G = random.of<int64_t>({1, 1, 2});
  s.C = sizes.channels_in * s.G, s.K = sizes.channels_out * s.G;
  s.R = random.between(1, 3), s.S = random.between(1, 3);
  s.stride_h = random.of<int64_t>({1, 1, 2}), s.stride_w = random.of<int64_t>({1, 1, 3});
  s.dilation_h = random.of<int64_t>({1, 1, 2}), s.dilation_w = random.of<int64_t>({1, 1, 2});
  s.pad_top = random.between(0, 2), s.pad_bottom = random.between(0, 2);
  s.pad_left = random.between(0, 2), s.pad_right = random.between(0, 2);
  s.N = sizes.pixels > 40 ? 2 : 1;
  // P and Q first; the image is as large as they need, or some pixels larger.
  s.Q = random.of<int64_t>({4, 7, 12});
  s.P = std::max<int64_t>(1, sizes.pixels / s.N / s.Q);
  const auto input = [&](int64_t outputs, int64_t stride, int64_t reach, int64_t pads) {
    return std::max<int64_t>(1, (outputs - 1) * stride + reach - pads) +
           random.between(0, stride - 1);
  };
  const int64_t reach_h = s.dilation_h * (s.R - 1) + 1, reach_w = s.dilation_w * (s.S - 1) + 1;
  s.H = input(s.P, s.stride_h, reach_h, s.pad_top + s.pad_bottom);
  s.W = input(s.Q, s.stride_w, reach_w, s.pad_left + s.pad_right);
  s.P = conv2d_output(s.H, s.pad_top + s.pad_bottom, s.R, s.stride_h, s.dilation_h);
  s.Q = conv2d_output(s.W, s.pad_left + s.pad_right, s.S, s.stride_w, s.dilation_w);
  return s;
}

std::string text(const Conv2dShape& s) {
  std::string text;
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, int64_t>>{{"N", s.N},
                                                              {"C", s.C},
                                                              {"H", s.H},
                                                              {"W", s.W},
                                                              {"K", s.K},
                                                              {"R", s.R},
                                                              {"S", s.S},
                                                              {"G", s.G},
                                                              {"stride", s.stride_h},
                                                              {"x", s.stride_w},
                                                              {"pads", s.pad_top},
                                                              {"x", s.pad_left},
                                                              {"x", s.pad_bottom},
                                                              {"x", s.pad_right},
                                                              {"dilation", s.dilation_h},
                                                              {"x", s.dilation_w}}) {
    text += std::string(" ") + name + "=" + std::to_string(value);
  }
  return text;
}

using Doubles = std::vector<double>;

/// One pass: its kernels, its reference, and which size of the shape is what to the product.
struct Pass {
  const char* name;
  /// Sizes that make `rows` of sums, about `columns`, and terms of about `depth` times 4.
  Sizes (*sizes)(int64_t rows, int64_t columns, int64_t depth);
  int64_t (*count)(const Conv2dShape&);                               // of the output
  int64_t (*left)(const Conv2dShape&), (*right)(const Conv2dShape&);  // of the inputs
  double (*depth)(const Conv2dShape&);
  void (*reference)(double* to, const double* left, const double* right, const Conv2dShape&);
};

int64_t images(const Conv2dShape& s) { return s.N * s.C * s.H * s.W; }
int64_t weights(const Conv2dShape& s) { return s.K * s.CRS(); }
int64_t outputs(const Conv2dShape& s) { return s.N * s.K * s.PQ(); }

const Pass kForward{"conv2d_forward",
                    [](int64_t rows, int64_t columns, int64_t depth) {
                      return Sizes{std::max<int64_t>(1, depth / 4), rows, columns};
                    },
                    outputs,
                    images,
                    weights,
                    [](const Conv2dShape& s) { return static_cast<double>(s.CRS()); },
                    [](double* y, const double* x, const double* w, const Conv2dShape& s) {
                      reference::conv2d_forward<double>(y, x, w, nullptr, s);
                    }};
const Pass kData{"conv2d_backward_data",
                 [](int64_t rows, int64_t columns, int64_t depth) {
                   return Sizes{rows, std::max<int64_t>(1, depth / 4), columns};
                 },
                 images,
                 outputs,
                 weights,
                 [](const Conv2dShape& s) { return static_cast<double>(s.K / s.G * s.R * s.S); },
                 reference::conv2d_backward_data<double>};
const Pass kWeight{"conv2d_backward_weight",
                   [](int64_t rows, int64_t columns, int64_t depth) {
                     return Sizes{std::max<int64_t>(1, columns / 4), rows, depth};
                   },
                   weights,
                   outputs,
                   images,
                   [](const Conv2dShape& s) { return static_cast<double>(s.N * s.PQ()); },
                   reference::conv2d_backward_weight<double>};

using Kernels = std::function<void(float*, const float*, const float*, const Conv2dShape&)>;

void check(const Pass& pass, const Conv2dShape& s, cuda::Precision precision, int offset,
           const Kernels& kernels, Random& random) {
  const Values left = random.normal(pass.left(s)), right = random.normal(pass.right(s));
  const Values unwritten(static_cast<std::size_t>(pass.count(s)), NAN);
  const Values got = in_every_order([&] {
    const Array a(left, offset), b(right, offset), to(unwritten, offset);
    kernels(to.data(), a.data(), b.data(), s);
    return to.values();
  });
  Doubles wanted(got.size());
  pass.reference(wanted.data(), rounded(left, precision).data(), rounded(right, precision).data(),
                 s);
  for (std::size_t i = 0; i < got.size(); ++i) {
    expect_close(got[i], wanted[i], pass.depth(s), 1, "element " + std::to_string(i));
  }
}

template <class Math, class Tiles>
void run(Cases& cases, const Pass& pass, Tiles tiles, cuda::Precision precision,
         const Kernels& kernels, Random& random) {
  most_slices = 0;
  int offset = 0;
  for (const Listed& tile : tiles_of<Math>(tiles)) {
    for (const int64_t slices : {int64_t{1}, int64_t{1}, int64_t{3}, kSlicePanels}) {
      choice = {tile.index, slices, false};
      offset ^= 1;
      const bool panels = slices == kSlicePanels;
      const int64_t depth = panels ? 36 * tile.depth : random.of<int64_t>({20, 90, 150});
      const auto size = [&](int64_t of_tile) {
        return random.of<int64_t>({of_tile - 4, of_tile, of_tile + 3});
      };
      const int64_t rows = size(tile.rows), columns = size(panels ? 32 : tile.columns);
      const Conv2dShape s = draw_shape(pass.sizes(rows, columns, depth), random);
      const std::string name = std::string(pass.name) + " " + cuda::name_of(precision) + " " +
                               std::to_string(tile.rows) + "x" + std::to_string(tile.columns) +
                               " slices=" + std::to_string(slices) +
                               " offset=" + std::to_string(offset) + text(s);
      cases.run(name, [&] { check(pass, s, precision, offset, kernels, random); });
    }
    offset ^= 1;  // the next tile has its slices with the other one
  }
  cases.run(std::string(pass.name) + " " + cuda::name_of(precision) + ": the plans are ours",
            [&] { expect(most_slices > 10, std::to_string(most_slices) + " slices at the most"); });
}

template <class Math>
void run(Cases& cases, cuda::Precision precision, Random& random) {
  using Ours = Planned<Math>;
  run<Math>(
      cases, kForward, cuda::PixelTiles{}, precision,
      [](float* y, const float* x, const float* w, const Conv2dShape& s) {
        cuda::gemm_conv2d_forward<Ours>("conv2d_forward", y, x, w, nullptr, false, s);
      },
      random);
  run<Math>(cases, kData, cuda::DataTiles{}, precision, cuda::gemm_conv2d_backward_data<Ours>,
            random);
  run<Math>(cases, kWeight, cuda::WeightTiles{}, precision, cuda::gemm_conv2d_backward_weight<Ours>,
            random);
}

}  // namespace
}  // namespace striate::kernel_tests

int main() {
  using namespace striate;
  using namespace striate::kernel_tests;
  Cases cases;
  Random random(1);
  run<cuda::Float32>(cases, cuda::Precision::float32, random);
  run<cuda::Tf32>(cases, cuda::Precision::tf32, random);
  run<cuda::Bf16>(cases, cuda::Precision::bf16, random);
  return cases.finish();
}
