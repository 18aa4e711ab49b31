// The plans of cpp/plan: a network's fused steps come in as a list, made by striate.plan.
#include <pybind11/stl.h>

#include <cstring>
#include <memory>

#include "arrays.h"
#include "ops.h"
#include "plan/inference.h"
#include "plan/steps.h"
#include "plan/training.h"

namespace striate::bindings {
namespace {

using plan::Dims;
using plan::StepPtr;

template <class T>
T option(const py::dict& options, const char* name) {
  return options[name].cast<T>();
}

plan::Pool pool_of(const py::dict& o) {
  return {.kernel = option<plan::Pair>(o, "kernel_size"),
          .stride = option<plan::Pair>(o, "stride"),
          .pads = option<plan::Pads>(o, "padding"),
          .dilation = option<plan::Pair>(o, "dilation"),
          .ceil_mode = option<bool>(o, "ceil_mode")};
}

StepPtr step_of(const std::string& op, const std::vector<Dims>& inputs, const py::dict& o) {
  const Dims& x = inputs.at(0);
  const bool joins = op == "add" || op == "concat";
  if (joins != (inputs.size() > 1)) {
    throw py::value_error("plan: " + op + " cannot take " + std::to_string(inputs.size()) +
                          " inputs");
  }
  if (op == "conv2d") {
    const py::object pool = o["pool"];
    return plan::conv2d(
        x, {.C = option<int64_t>(o, "in_channels"),
            .K = option<int64_t>(o, "out_channels"),
            .kernel = option<plan::Pair>(o, "kernel_size"),
            .stride = option<plan::Pair>(o, "stride"),
            .pads = option<plan::Pads>(o, "padding"),
            .dilation = option<plan::Pair>(o, "dilation"),
            .groups = option<int64_t>(o, "groups"),
            .bias = option<bool>(o, "bias"),
            .relu = option<bool>(o, "relu"),
            .pool = pool.is_none() ? std::nullopt : std::optional(pool_of(pool.cast<py::dict>()))});
  }
  if (op == "linear") {
    return plan::linear(x, {.C = option<int64_t>(o, "in_features"),
                            .K = option<int64_t>(o, "out_features"),
                            .bias = option<bool>(o, "bias"),
                            .relu = option<bool>(o, "relu")});
  }
  if (op == "max_pool2d") return plan::max_pool2d(x, pool_of(o));
  if (op == "avg_pool2d") {
    return plan::avg_pool2d(x, pool_of(o), option<bool>(o, "count_include_pad"),
                            option<int64_t>(o, "divisor_override"));
  }
  if (op == "adaptive_avg_pool2d") {
    return plan::adaptive_avg_pool2d(x, option<plan::Pair>(o, "output_size"));
  }
  if (op == "relu") return plan::relu(x);
  if (op == "scale") return plan::scale(x, option<double>(o, "factor"));
  if (op == "tanh") return plan::tanh(x);
  if (op == "sigmoid") return plan::sigmoid(x);
  if (op == "dropout") return plan::dropout(x, option<double>(o, "p"));
  if (op == "local_response_norm") {
    return plan::local_response_norm(x, option<int64_t>(o, "size"), option<double>(o, "alpha"),
                                     option<double>(o, "beta"), option<double>(o, "k"));
  }
  if (op == "softmax" || op == "log_softmax") {
    const py::object dim = o["dim"];
    const int64_t implicit = x.size() == 2 ? 0 : 1;  // torch's choice for dim=None
    return plan::softmax(x, dim.is_none() ? implicit : dim.cast<int64_t>(), op == "log_softmax");
  }
  if (op == "channel_affine") {
    return plan::channel_affine(x, option<int64_t>(o, "channels"), option<bool>(o, "relu"));
  }
  if (op == "add") return plan::add(inputs, option<bool>(o, "relu"));
  if (op == "concat") return plan::concat(inputs, option<int64_t>(o, "dim"));
  if (op == "flatten") {
    return plan::flatten(x, option<int64_t>(o, "start_dim"), option<int64_t>(o, "end_dim"));
  }
  if (op == "bias") return plan::bias(x, option<Dims>(o, "shape"));
  if (op == "pad") {
    return plan::pad(x, option<plan::Pads>(o, "padding"), option<double>(o, "value"));
  }
  throw py::value_error("plan: no step is called '" + op + "'");
}

Shape with_batch(int64_t n, const Dims& dims) {
  Shape shape{n};
  shape.insert(shape.end(), dims.begin(), dims.end());
  return shape;
}

/// The arrays' data, each checked to have as many elements as the plan was made for.
struct Arrays {
  std::vector<Input<float>> inputs;
  std::vector<const float*> data;

  Arrays(const py::list& arrays, const std::vector<int64_t>& sizes) {
    if (arrays.size() != sizes.size()) {
      fail("plan", "takes " + std::to_string(sizes.size()) + " parameters, got " +
                       std::to_string(arrays.size()));
    }
    inputs.reserve(sizes.size()), data.reserve(sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      inputs.emplace_back(arrays[i], "plan", "a parameter");
      if (inputs[i].size() != sizes[i]) {
        fail("plan", "a parameter must have " + std::to_string(sizes[i]) + " elements, got shape " +
                         text(inputs[i].shape()));
      }
      data.push_back(inputs[i].data());
    }
  }
};

std::unique_ptr<plan::Inference> make_inference(const Dims& input, const py::list& steps) {
  std::vector<Dims> dims{input};
  std::vector<plan::Node> nodes;
  std::vector<Arrays> arrays;
  std::vector<std::vector<const float*>> params;
  for (const py::handle item : steps) {
    const auto [op, reads, options, parameters] =
        item.cast<std::tuple<std::string, std::vector<int>, py::dict, py::list>>();
    std::vector<Dims> inputs;
    for (const int v : reads) inputs.push_back(dims.at(v));
    StepPtr step = step_of(op, inputs, options);
    arrays.emplace_back(parameters, step->parameter_sizes());
    params.push_back(arrays.back().data);
    dims.push_back(step->output());
    nodes.push_back({std::move(step), reads});
  }
  return std::make_unique<plan::Inference>(input, std::move(nodes), params);
}

/// What a training plan's forward hands to backward, with the arrays that it points into.
struct Saved {
  std::unique_ptr<plan::Training::Saved> saved;
  py::object x;
};

void register_inference(py::module_& m) {
  py::class_<plan::Inference>(m, "InferencePlan")
      .def(py::init(&make_inference), py::arg("input_shape"), py::arg("steps"))
      .def(
          "run",
          [](const plan::Inference& self, const py::object& input) {
            const Input<float> x(input, "prepared model", "input");
            if (x.ndim() == 0) fail("prepared model", "input must have a batch axis");
            x.expect_shape(with_batch(x[0], self.input()),
                           "(N, *input_shape) of the call of prepare");
            return written<float>(with_batch(x[0], self.output()),
                                  [&](float* y) { self.run(y, x.data(), x[0]); });
          },
          py::arg("input"))
      .def_property_readonly(
          "output_shape",
          [](const plan::Inference& self) { return py::tuple(py::cast(self.output())); })
      .def_property_readonly("weight_bytes", &plan::Inference::weight_bytes)
      .def("steps", [](const plan::Inference& self) {
        py::list rows;
        for (const plan::Node& node : self.nodes()) {
          rows.append(py::make_tuple(py::tuple(py::cast(node.step->output())),
                                     node.step->algorithm(), node.step->multiply_adds()));
        }
        return rows;
      });
}

void register_training(py::module_& m) {
  py::class_<Saved>(m, "SavedForward");
  py::class_<plan::Training>(m, "TrainingPlan")
      .def(py::init([](const Dims& input, const py::list& steps) {
             Dims dims = input;
             std::vector<StepPtr> made;
             for (const py::handle item : steps) {
               const auto [op, options] = item.cast<std::tuple<std::string, py::dict>>();
               made.push_back(step_of(op, {dims}, options));
               if (!made.back()->trains()) {
                 throw py::value_error("plan: " + op + " does not train");
               }
               dims = made.back()->output();
             }
             return std::make_unique<plan::Training>(input, std::move(made));
           }),
           py::arg("input_shape"), py::arg("steps"))
      .def(
          "forward",
          [](const plan::Training& self, const py::array& input, const py::list& parameters,
             const std::vector<std::tuple<uint64_t, uint32_t, uint32_t>>& keys,
             bool save) -> py::tuple {
            const Input<float> x(input, "model", "input");
            if (x.ndim() == 0) fail("model", "input must have a batch axis");
            x.expect_shape(with_batch(x[0], self.input()), "that of the plan");
            const Arrays params(parameters, self.parameter_sizes());
            std::vector<DropoutKey> draws;
            for (const auto& [seed, call, step] : keys) draws.push_back({seed, call, step});
            if (draws.size() != self.dropouts()) fail("plan", "one key for each dropout");
            auto y = output<float>(with_batch(x[0], self.output()));
            float* const to = data<float>(y);
            auto saved = std::make_unique<Saved>();
            {
              const WithoutGil nogil;
              saved->saved =
                  self.forward(to, x.data(), params.data.data(), x[0], std::move(draws), save);
            }
            if (!save) return py::make_tuple(y, py::none());
            saved->x = x.array();
            return py::make_tuple(y, std::move(saved));
          },
          py::arg("input"), py::arg("parameters"), py::arg("keys"), py::arg("save"))
      .def(
          "backward",
          [](const plan::Training& self, const py::object& grad, const Saved& saved,
             const py::list& parameters, const std::vector<bool>& need, bool need_input) {
            const int64_t n = saved.saved->n;
            const Input<float> dy(grad, "backward", "dy");
            dy.expect_shape(with_batch(n, self.output()), "that of forward's result");
            const Arrays params(parameters, self.parameter_sizes());
            if (need.size() != params.data.size()) fail("plan", "one need for each parameter");
            py::list grads;
            std::vector<float*> dparams;
            for (std::size_t i = 0; i < need.size(); ++i) {
              if (need[i]) {
                auto gradient = output<float>(params.inputs[i].shape());
                dparams.push_back(data<float>(gradient));
                grads.append(gradient);
              } else {
                dparams.push_back(nullptr);
                grads.append(py::none());
              }
            }
            py::object dx = py::none();
            float* to = nullptr;
            if (need_input) {
              auto array = output<float>(with_batch(n, self.input()));
              to = data<float>(array);
              dx = array;
            }
            {
              const WithoutGil nogil;
              self.backward(to, dparams.data(), dy.data(), *saved.saved, params.data.data());
            }
            return py::make_tuple(dx, grads);
          },
          py::arg("dy"), py::arg("saved"), py::arg("parameters"), py::arg("need"),
          py::arg("need_input"));
}

}  // namespace

void register_plan(py::module_& m) {
  register_inference(m);
  register_training(m);
}

}  // namespace striate::bindings
