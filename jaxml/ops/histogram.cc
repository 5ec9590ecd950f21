// Sums of values over nodes and bins: what `_scatter` of jaxml/ops/histogram.py does in
// XLA, in double precision. Read that file for the meaning of the arrays.
//
// Rows are put in the order of their nodes, so that the sums of one node and of some
// features, which lie in the cache, are made at a time. Each sum is made by one thread,
// in the order of the rows: the number of threads changes nothing.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// Adds the values of rows to sums[feature][code][value] of some features. `stride` is the
// number of bins and one more, where codes out of range go.
template <int kValues, typename T, typename Code>
static INLINE void Add(const Code* codes, const T* values, const int32_t* rows, int64_t count,
                       int64_t d, int64_t first, int64_t width, int64_t stride, int64_t c,
                       double* sums) {
  const int64_t size = kValues ? kValues : c;
  const Code most = static_cast<Code>(std::min<int64_t>(stride - 1, Code(-1)));
  constexpr int64_t kAhead = 16;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t i = rows[k];
#if defined(__GNUC__)
    if (k + kAhead < count) {
      const int64_t next = rows[k + kAhead];
      __builtin_prefetch(codes + next * d + first);
      __builtin_prefetch(values + next * size);
    }
#endif
    const Code* code = codes + i * d + first;
    double value[kValues ? kValues : 1];
    for (int v = 0; v < kValues; ++v) value[v] = values[i * size + v];
    double* sum = sums;
    for (int64_t j = 0; j < width; ++j, sum += stride * size) {
      double* cell = sum + int64_t(std::min(code[j], most)) * size;
      if (kValues) {
        for (int v = 0; v < kValues; ++v) cell[v] += value[v];
      } else {
        for (int64_t v = 0; v < size; ++v) cell[v] += values[i * size + v];
      }
    }
  }
}

// Rows in the order of their nodes, and where those of each node begin.
static void Group(const int32_t* node, int64_t n, int64_t n_nodes, std::vector<int32_t>* rows,
                  std::vector<int64_t>* start) {
  start->assign(n_nodes + 1, 0);
  auto counts = [&](int64_t i) { return node[i] >= 0 && node[i] < n_nodes; };
  for (int64_t i = 0; i < n; ++i) {
    if (counts(i)) ++(*start)[node[i] + 1];
  }
  for (int64_t m = 0; m < n_nodes; ++m) (*start)[m + 1] += (*start)[m];
  rows->resize((*start)[n_nodes]);
  std::vector<int64_t> place(start->begin(), start->end() - 1);
  for (int64_t i = 0; i < n; ++i) {
    if (counts(i)) (*rows)[place[node[i]]++] = static_cast<int32_t>(i);
  }
}

template <typename T, typename Code>
static void Sum(ffi::ThreadPool pool, const Code* codes, const T* values, const int32_t* node,
                int64_t n, int64_t d, int64_t c, int64_t n_nodes, int64_t n_bins, T* out) {
  std::vector<int32_t> rows;
  std::vector<int64_t> start;
  Group(node, n, n_nodes, &rows, &start);
  const auto add = c == 1   ? Add<1, T, Code>
                   : c == 2 ? Add<2, T, Code>
                   : c == 3 ? Add<3, T, Code>
                   : c == 4 ? Add<4, T, Code>
                            : Add<0, T, Code>;
  const int64_t stride = n_bins + 1, cell = stride * c;
  // Features at a time: as fill half of a second-level cache, and keep all threads busy.
  const int64_t fill = std::max<int64_t>(1, (1 << 16) / cell);
  const int64_t share = (d + thread_count(pool) - 1) / thread_count(pool);
  const int64_t width = std::min(fill, share), blocks = (d + width - 1) / width;
  parallel_for(pool, n_nodes * blocks, [&](int64_t task) {
    const int64_t m = task / blocks, first = task % blocks * width;
    const int64_t features = std::min(width, d - first);
    std::vector<double> sums(features * cell, 0.0);
    add(codes, values, rows.data() + start[m], start[m + 1] - start[m], d, first, features,
        stride, c, sums.data());
    for (int64_t j = 0; j < features; ++j) {
      T* to = out + ((m * d + first + j) * n_bins) * c;
      for (int64_t k = 0; k < n_bins * c; ++k) to[k] = static_cast<T>(sums[j * cell + k]);
    }
  });
}

template <ffi::DataType D>
static ffi::Error Histogram(ffi::ThreadPool pool, ffi::AnyBuffer codes, ffi::Buffer<D> values,
                            ffi::Buffer<ffi::DataType::S32> node,
                            ffi::Result<ffi::Buffer<D>> out) {
  const int64_t n = codes.dimensions()[0], d = codes.dimensions()[1];
  const int64_t c = values.dimensions()[1];
  const int64_t n_nodes = out->dimensions()[0], n_bins = out->dimensions()[2];
  const auto kind = codes.element_type();
  if (values.dimensions()[0] != n || static_cast<int64_t>(node.element_count()) != n ||
      out->dimensions()[1] != d || out->dimensions()[3] != c || n >= (int64_t(1) << 31) ||
      (kind != ffi::DataType::U8 && kind != ffi::DataType::U16)) {
    return ffi::Error::InvalidArgument("histogram: shapes do not match");
  }
  return guarded([&] {
    if (kind == ffi::DataType::U8) {
      Sum(pool, codes.typed_data<uint8_t>(), values.typed_data(), node.typed_data(), n, d, c,
          n_nodes, n_bins, out->typed_data());
    } else {
      Sum(pool, codes.typed_data<uint16_t>(), values.typed_data(), node.typed_data(), n, d, c,
          n_nodes, n_bins, out->typed_data());
    }
    return ffi::Error::Success();
  });
}

template <ffi::DataType D>
static auto Bind() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .template Arg<ffi::AnyBuffer>()
      .template Arg<ffi::Buffer<D>>()
      .template Arg<ffi::Buffer<ffi::DataType::S32>>()
      .template Ret<ffi::Buffer<D>>();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(histogram_float32, Histogram<ffi::DataType::F32>,
                              Bind<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(histogram_float64, Histogram<ffi::DataType::F64>,
                              Bind<ffi::DataType::F64>());
