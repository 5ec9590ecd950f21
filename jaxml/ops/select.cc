// Indices of the k smallest numbers of each row: what `_select` of jaxml/ops/nearest.py
// does with two `top_k`, in one pass. Most numbers are only compared, 32 at a time, with
// the greatest of the k found so far.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// A NaN counts as the least number, as it does for `top_k`. Equal numbers keep the order
// of their indices: a later one must be smaller to come in.
template <typename T>
static INLINE void Insert(T value, int32_t index, int64_t held, T* best, int32_t* place) {
  int64_t i = held;
  for (; i > 0 && value < best[i - 1]; --i) {
    best[i] = best[i - 1];
    place[i] = place[i - 1];
  }
  best[i] = value;
  place[i] = index;
}

template <typename T>
static INLINE T Key(T value) {
  return std::isnan(value) ? -std::numeric_limits<T>::infinity() : value;
}

// `best` and `place` have room for k + 1.
template <typename T>
static INLINE void Row(const T* x, int64_t n, int64_t k, T* best, int32_t* place) {
  for (int64_t i = 0; i < k; ++i) Insert(Key(x[i]), static_cast<int32_t>(i), i, best, place);
  int64_t i = k;
  while (i < n) {
    const int64_t end = i + 32 < n ? i + 32 : n;
    const T worst = best[k - 1];
    int hit = 0;
    if (end - i == 32) {
      for (int64_t j = 0; j < 32; ++j) hit |= !(x[i + j] >= worst);
    } else {
      hit = 1;
    }
    if (hit) {
      for (int64_t j = i; j < end; ++j) {
        const T key = Key(x[j]);
        if (key < best[k - 1]) Insert(key, static_cast<int32_t>(j), k - 1, best, place);
      }
    }
    i = end;
  }
}

CLONES static void Rows(const float* x, int64_t from, int64_t to, int64_t n, int64_t k,
                        float* best, int32_t* place, int32_t* out) {
  for (int64_t row = from; row < to; ++row) {
    Row(x + row * n, n, k, best, place);
    for (int64_t i = 0; i < k; ++i) out[row * k + i] = place[i];
  }
}

CLONES static void Rows(const double* x, int64_t from, int64_t to, int64_t n, int64_t k,
                        double* best, int32_t* place, int32_t* out) {
  for (int64_t row = from; row < to; ++row) {
    Row(x + row * n, n, k, best, place);
    for (int64_t i = 0; i < k; ++i) out[row * k + i] = place[i];
  }
}

template <typename T, ffi::DataType kind>
static ffi::Error Select(ffi::ThreadPool pool, ffi::Buffer<kind> values,
                         ffi::ResultBuffer<ffi::S32> index) {
  const auto shape = values.dimensions();
  const auto result = index->dimensions();
  if (shape.size() != 2 || result.size() != 2 || result[0] != shape[0] ||
      result[1] > shape[1]) {
    return ffi::Error::InvalidArgument("select: values [b, n] and indices [b, k], k <= n");
  }
  const int64_t b = shape[0], n = shape[1], k = result[1];
  if (k == 0) return ffi::Error::Success();
  return guarded([&] {
    const T* x = values.typed_data();
    int32_t* out = index->typed_data();
    parallel_range(pool, b, 1 + 32768 / n, [&](int64_t from, int64_t to) {
      std::vector<T> best(k + 1);
      std::vector<int32_t> place(k + 1);
      Rows(x, from, to, n, k, best.data(), place.data(), out);
    });
    return ffi::Error::Success();
  });
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(select_float32, (Select<float, ffi::F32>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::S32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(select_float64, (Select<double, ffi::F64>),
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F64>>()
                                  .Ret<ffi::Buffer<ffi::S32>>());
