// One epoch of stochastic gradient descent of linear models, row by row, and the radix
// sort that orders the rows: what `_scan` of jaxml/models/classical/sgd_epoch.py does in
// XLA. Read that file for the meaning of the arrays and for the references.
//
// Coefficients are kept divided by a scale, so that the decay of an L2 penalty is one
// multiplication (Bottou, 2012, section 5.1). Sums over features run in four lanes or
// more by the vectorizer; a NaN must reach the coefficients, so comparisons are written
// for it to fail them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// One body for each generation of processors, chosen when the library is loaded.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define CLONES
#endif
#define INLINE inline __attribute__((always_inline))

enum Loss {
  kHinge,
  kPerceptron,
  kSquaredHinge,
  kModifiedHuber,
  kLogLoss,
  kSquaredError,
  kHuber,
  kEpsilonInsensitive,
  kSquaredEpsilonInsensitive
};
enum Penalty { kNone, kL1, kL2, kElasticNet };
enum Rate { kConstant, kOptimal, kInvScaling, kAdaptive, kPa1, kPa2 };

struct Met {
  double value;
  double slope;
};

static INLINE Met MarginLoss(int loss, double p, double y) {
  double z = p * y;
  if (loss == kLogLoss) {
    double small = std::exp(-std::fabs(z));
    double value = std::log1p(small) + std::max(0.0, -z);
    double chance = z > 0 ? small / (1 + small) : 1 / (1 + small);
    return {value, -y * chance};
  }
  double slack = (loss == kPerceptron ? 0.0 : 1.0) - z;
  if (loss == kModifiedHuber && z < -1) return {-4 * z, -4 * y};
  if (loss == kHinge || loss == kPerceptron) {
    if (slack < 0) return {0, 0};
    return {slack, -y};
  }
  if (slack <= 0) return {0, 0};
  return {slack * slack, -2 * slack * y};
}

static INLINE Met Measure(int loss, double p, double y, double epsilon) {
  if (loss < kSquaredError) return MarginLoss(loss, p, y);
  double error = p - y, size = std::fabs(error);
  double sign = error > 0 ? 1 : (error < 0 ? -1 : error);
  switch (loss) {
    case kSquaredError:
      return {0.5 * error * error, error};
    case kHuber:
      if (size <= epsilon) return {0.5 * error * error, error};
      return {epsilon * (size - 0.5 * epsilon), epsilon * sign};
    case kEpsilonInsensitive:
      if (size <= epsilon) return {0, 0};
      return {size - epsilon, sign};
    default:
      if (size <= epsilon) return {0, 0};
      return {(size - epsilon) * (size - epsilon), 2 * (size - epsilon) * sign};
  }
}

template <typename T>
struct Epoch {
  int64_t n, d, k;
  const T *alpha, *l1_ratio, *eta0, *power_t, *epsilon;
  const T *x, *target, *weight, *side;
  const int32_t* order;
  const T* rate;
  const bool* active;
  T *coef, *intercept, *mean_coef, *mean_intercept, *shrunk, *due, *squares, *sizes,
      *objective;
  int64_t t, t_max;
  int loss, penalty, schedule, fit_intercept, average;
};

template <typename T>
static INLINE T Dot(const T* a, const T* b, int64_t d) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += a[j] * b[j];
  return sum;
}

// w += update * x; the sums of squares and sizes after it.
template <typename T>
static INLINE void Add(T* w, const T* x, T update, int64_t d, bool measure, double* squares,
                       double* sizes) {
  if (!measure) {
#pragma omp simd
    for (int64_t j = 0; j < d; ++j) w[j] += update * x[j];
    return;
  }
  T two = 0, one = 0;
#pragma omp simd reduction(+ : two, one)
  for (int64_t j = 0; j < d; ++j) {
    w[j] += update * x[j];
    two += w[j] * w[j];
    one += std::fabs(w[j]);
  }
  *squares = two;
  *sizes = one;
}

// Takes from each coefficient the penalty that it still owes, up to 0.
template <typename T>
static INLINE void Truncate(T* w, T* shrunk, T due, T scale, int64_t d) {
  T inverse = 1 / scale;
#pragma omp simd
  for (int64_t j = 0; j < d; ++j) {
    T old = w[j];
    T below = old - (due + shrunk[j]) * inverse;
    T above = old + (due - shrunk[j]) * inverse;
    below = below < 0 ? T(0) : below;
    above = above > 0 ? T(0) : above;
    T fresh = old > 0 ? below : (old < 0 ? above : old);
    w[j] = fresh;
    shrunk[j] += scale * (fresh - old);
  }
}

template <typename T>
static INLINE void Average(T* mean, const T* w, T scale, T share, int64_t d) {
#pragma omp simd
  for (int64_t j = 0; j < d; ++j) mean[j] += (scale * w[j] - mean[j]) * share;
}

template <typename T>
static INLINE void Rescale(T* w, double* scale, int64_t d) {
  T factor = *scale;
#pragma omp simd
  for (int64_t j = 0; j < d; ++j) w[j] *= factor;
  *scale = 1;
}

template <typename T>
static INLINE void Run(Epoch<T>& e) {
  const int64_t n = e.n, d = e.d, k = e.k;
  const double alpha = *e.alpha, eta0 = *e.eta0, epsilon = *e.epsilon;
  const double smallest = sizeof(T) == 4 ? 1e-4 : 1e-9;
  const bool passive = e.schedule >= kPa1;
  const bool truncates = e.penalty == kL1 || e.penalty == kElasticNet;
  const bool decays = e.penalty >= kL2;
  const bool measured = e.penalty != kNone && !passive;
  const double l1_ratio =
      e.penalty == kL1 ? 1 : (e.penalty == kL2 ? 0 : double(*e.l1_ratio));
  const double first = std::pow(alpha, -0.75);
  std::vector<double> scales(k, 1.0), sums(k, 0.0), squared(k), sized(k), constant(k), due(k);
  for (int64_t c = 0; c < k; ++c) {
    squared[c] = e.squares[c];
    sized[c] = e.sizes[c];
    constant[c] = e.intercept[c];
    due[c] = e.due[c];
  }
  for (int64_t row = 0; row < n; ++row) {
    const int64_t i = e.order[row];
    const double weight = e.weight[i];
    if (!(weight > 0)) continue;
    const T* x = e.x + i * d;
    const double squares = passive ? double(Dot(x, x, d)) : 0;
    double shared = 0;
    if (e.schedule == kOptimal) shared = 1 / (alpha * (first + double(e.t) - 1));
    if (e.schedule == kInvScaling) shared = eta0 / std::pow(double(e.t), double(*e.power_t));
    const double count = std::max<double>(double(e.t) - e.average + 1, 1);
    bool went = false;
    for (int64_t c = 0; c < k; ++c) {
      if (!e.active[c]) continue;
      T* w = e.coef + c * d;
      double& scale = scales[c];
      const double y = e.target[i * k + c];
      const double p = scale * Dot(w, x, d) + constant[c];
      const Met met = Measure(e.loss, p, y, epsilon);
      const bool shares = e.schedule == kOptimal || e.schedule == kInvScaling;
      const double eta = shares ? shared : double(e.rate[c]);
      sums[c] += met.value;
      if (measured) {
        sums[c] += alpha * ((1 - l1_ratio) * 0.5 * squared[c] + l1_ratio * sized[c]);
      }
      double update;
      if (passive) {
        if (e.schedule == kPa1 && squares == 0) continue;
        double size = e.schedule == kPa1 ? std::min(eta, met.value / squares)
                                         : met.value / (squares + 0.5 / eta0);
        update = met.slope > 0 ? -size : (met.slope < 0 ? size : met.slope);
      } else {
        double slope = met.slope > 1e12 ? 1e12 : (met.slope < -1e12 ? -1e12 : met.slope);
        update = -eta * slope;
      }
      update *= double(e.side[y > 0 ? k + c : c]) * weight;
      went = true;
      if (decays) {
        double shrink = 1 - (1 - l1_ratio) * eta * alpha;
        if (shrink < 0) shrink = 0;
        scale *= shrink;
        squared[c] *= shrink * shrink;
        sized[c] *= shrink;
        if (scale < smallest) Rescale(w, &scale, d);
      }
      if (update != 0) {
        double two = 0, one = 0;
        Add(w, x, T(update / scale), d, measured, &two, &one);
        if (measured) {
          squared[c] = two * scale * scale;
          sized[c] = one * scale;
        }
        if (e.fit_intercept) constant[c] += update;
      }
      if (truncates) {
        due[c] += l1_ratio * eta * alpha;
        Truncate(w, e.shrunk + c * d, T(due[c]), T(scale), d);
      }
      if (e.average) {
        Average(e.mean_coef + c * d, w, T(scale), T(1 / count), d);
        e.mean_intercept[c] += T((constant[c] - e.mean_intercept[c]) / count);
      }
    }
    if (went && e.t < e.t_max) ++e.t;
  }
  for (int64_t c = 0; c < k; ++c) {
    Rescale(e.coef + c * d, &scales[c], d);
    e.intercept[c] = T(constant[c]);
    e.due[c] = T(due[c]);
    e.squares[c] = T(squared[c]);
    e.sizes[c] = T(sized[c]);
    e.objective[c] = T(sums[c]);
  }
}

CLONES static void RunFloat(Epoch<float>& e) { Run(e); }
CLONES static void RunDouble(Epoch<double>& e) { Run(e); }
static void Dispatch(Epoch<float>& e) { RunFloat(e); }
static void Dispatch(Epoch<double>& e) { RunDouble(e); }

template <ffi::DataType D>
using In = ffi::Buffer<D>;
template <ffi::DataType D>
using Out = ffi::Result<ffi::Buffer<D>>;

// The steps are counted in the default integer of the program, of 32 or 64 bits.
static int64_t ReadInteger(const ffi::AnyBuffer& buffer) {
  if (buffer.element_type() == ffi::DataType::S64) return *buffer.typed_data<int64_t>();
  return *buffer.typed_data<int32_t>();
}

template <ffi::DataType D>
static ffi::Error SgdEpoch(In<D> alpha, In<D> l1_ratio, In<D> eta0, In<D> power_t,
                           In<D> epsilon, In<D> x, In<D> target, In<D> weight, In<D> side,
                           In<ffi::DataType::S32> order, In<D> rate,
                           In<ffi::DataType::PRED> active, In<D> coef, In<D> intercept,
                           In<D> mean_coef, In<D> mean_intercept, In<D> shrunk, In<D> due,
                           In<D> squares, In<D> sizes, ffi::AnyBuffer t, Out<D> out_coef,
                           Out<D> out_intercept, Out<D> out_mean_coef,
                           Out<D> out_mean_intercept, Out<D> out_shrunk, Out<D> out_due,
                           Out<D> out_squares, Out<D> out_sizes, ffi::Result<ffi::AnyBuffer> out_t,
                           Out<D> objective, int32_t loss, int32_t penalty, int32_t schedule,
                           int32_t fit_intercept, int32_t average) {
  using T = ffi::NativeType<D>;
  const int64_t n = x.dimensions()[0], d = x.dimensions()[1], k = coef.dimensions()[0];
  auto copy = [](const In<D>& from, Out<D>& to) {
    std::memcpy(to->typed_data(), from.typed_data(), from.element_count() * sizeof(T));
    return to->typed_data();
  };
  const bool wide = t.element_type() == ffi::DataType::S64;
  Epoch<T> e{n,
             d,
             k,
             alpha.typed_data(),
             l1_ratio.typed_data(),
             eta0.typed_data(),
             power_t.typed_data(),
             epsilon.typed_data(),
             x.typed_data(),
             target.typed_data(),
             weight.typed_data(),
             side.typed_data(),
             order.typed_data(),
             rate.typed_data(),
             active.typed_data(),
             copy(coef, out_coef),
             copy(intercept, out_intercept),
             copy(mean_coef, out_mean_coef),
             copy(mean_intercept, out_mean_intercept),
             copy(shrunk, out_shrunk),
             copy(due, out_due),
             copy(squares, out_squares),
             copy(sizes, out_sizes),
             objective->typed_data(),
             ReadInteger(t),
             wide ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int32_t>::max(),
             loss,
             penalty,
             schedule,
             fit_intercept,
             average};
  Dispatch(e);
  if (wide) {
    *out_t->typed_data<int64_t>() = e.t;
  } else {
    *out_t->typed_data<int32_t>() = static_cast<int32_t>(e.t);
  }
  return ffi::Error::Success();
}

template <ffi::DataType D>
static auto Bind() {
  return ffi::Ffi::Bind()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<ffi::DataType::S32>>()
      .template Arg<In<D>>()
      .template Arg<In<ffi::DataType::PRED>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<ffi::AnyBuffer>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<ffi::AnyBuffer>()
      .template Ret<In<D>>()
      .template Attr<int32_t>("loss")
      .template Attr<int32_t>("penalty")
      .template Attr<int32_t>("rate")
      .template Attr<int32_t>("fit_intercept")
      .template Attr<int32_t>("average");
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgd_epoch_float32, SgdEpoch<ffi::DataType::F32>,
                              Bind<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(sgd_epoch_float64, SgdEpoch<ffi::DataType::F64>,
                              Bind<ffi::DataType::F64>());

// Stable order of 32-bit integers: three passes of 11 bits over pairs of key and place.
static ffi::Error Argsort(In<ffi::DataType::U32> bits, Out<ffi::DataType::S32> order) {
  constexpr int kBits = 11, kBins = 1 << kBits;
  const int64_t n = bits.element_count();
  std::vector<uint64_t> here(n), there(n);
  std::vector<int64_t> ends(3 * kBins, 0);
  const uint32_t* keys = bits.typed_data();
  for (int64_t i = 0; i < n; ++i) {
    here[i] = (uint64_t(keys[i]) << 32) | uint32_t(i);
    for (int pass = 0; pass < 3; ++pass) {
      ++ends[pass * kBins + ((keys[i] >> (pass * kBits)) & (kBins - 1))];
    }
  }
  for (int pass = 0; pass < 3; ++pass) {
    int64_t* place = ends.data() + pass * kBins;
    int64_t sum = 0;
    for (int b = 0; b < kBins; ++b) {
      const int64_t size = place[b];
      place[b] = sum;
      sum += size;
    }
    for (int64_t i = 0; i < n; ++i) {
      there[place[(here[i] >> (32 + pass * kBits)) & (kBins - 1)]++] = here[i];
    }
    here.swap(there);
  }
  for (int64_t i = 0; i < n; ++i) {
    order->typed_data()[i] = static_cast<int32_t>(here[i] & 0xffffffffu);
  }
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(argsort, Argsort,
                              ffi::Ffi::Bind()
                                  .Arg<In<ffi::DataType::U32>>()
                                  .Ret<In<ffi::DataType::S32>>());
