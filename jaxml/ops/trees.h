// Decision trees as the kernels see them: the arrays of jaxml/ops/trees.py, which says what
// they mean, and where a node sends a value.

#ifndef JAXML_OPS_TREES_H_
#define JAXML_OPS_TREES_H_

#include <cmath>
#include <cstdint>
#include <string>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

// The arrays of trees [t, m], as jaxml/ops/trees.py names them.
template <typename T>
struct Trees {
  int64_t t, m, w, d;
  const int32_t *children_left, *children_right, *feature;
  const T* threshold;
  const bool *missing, *categorical;
  const uint32_t* categories;
  const bool* other;
};

// Whether the category `value` goes right.
template <typename T>
static INLINE bool SetGoesRight(const Trees<T>& trees, int64_t at, T value) {
  if (!(value > -1 && value < T(32 * trees.w))) return !trees.other[at];
  const int64_t category = static_cast<int64_t>(value);
  return !((trees.categories[at * trees.w + (category >> 5)] >> (category & 31)) & 1);
}

template <typename T>
static bool Right(const Trees<T>& trees, int64_t at, T value) {
  if (std::isnan(value)) return !trees.missing[at];
  if (trees.w > 0 && trees.categorical[at]) return SetGoesRight(trees, at, value);
  return !(value <= trees.threshold[at]);
}

// Says what is wrong with node `i` of tree `j`, or nothing.
template <typename T>
static std::string Wrong(const Trees<T>& trees, int64_t j, int64_t i) {
  const int64_t at = j * trees.m + i;
  const auto inside = [&](int64_t child) { return 0 <= child && child < trees.m; };
  const int64_t left = trees.children_left[at], right = trees.children_right[at];
  const std::string name = "node " + std::to_string(i) + " of tree " + std::to_string(j);
  if (!inside(left) || !inside(right)) {
    return name + " has children " + std::to_string(left) + " and " + std::to_string(right) +
           " of " + std::to_string(trees.m) + " nodes";
  }
  if (trees.feature[at] < 0 || trees.feature[at] >= trees.d) {
    return name + " asks for feature " + std::to_string(trees.feature[at]) + " of " +
           std::to_string(trees.d);
  }
  return "";
}

template <xla::ffi::DataType D>
using In = xla::ffi::Buffer<D>;
template <xla::ffi::DataType D>
using Out = xla::ffi::Result<xla::ffi::Buffer<D>>;
using Ints = In<xla::ffi::DataType::S32>;
using Bools = In<xla::ffi::DataType::PRED>;
using Words = In<xla::ffi::DataType::U32>;

template <xla::ffi::DataType D>
static Trees<xla::ffi::NativeType<D>> View(
    const Ints& left, const Ints& right, const Ints& feature, const In<D>& threshold,
    const Bools& missing, const Bools& categorical, const Words& categories,
    const Bools& other, const In<D>& x) {
  const auto shape = left.dimensions();
  return {shape[0],
          shape[1],
          categories.dimensions()[2],
          x.dimensions()[1],
          left.typed_data(),
          right.typed_data(),
          feature.typed_data(),
          threshold.typed_data(),
          missing.typed_data(),
          categorical.typed_data(),
          categories.typed_data(),
          other.typed_data()};
}

// The arguments of a kernel up to the values of the nodes.
template <xla::ffi::DataType D>
static auto BindTrees() {
  return xla::ffi::Ffi::Bind()
      .template Ctx<xla::ffi::ThreadPool>()
      .template Arg<Ints>()
      .template Arg<Ints>()
      .template Arg<Ints>()
      .template Arg<In<D>>()
      .template Arg<Bools>()
      .template Arg<Bools>()
      .template Arg<Words>()
      .template Arg<Bools>()
      .template Arg<In<D>>();
}

#endif  // JAXML_OPS_TREES_H_
