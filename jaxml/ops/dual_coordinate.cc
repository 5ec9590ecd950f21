// Dual coordinate descent of linear support vector machines, with shrinking: what
// `_sweeps` of jaxml/optim/dual_coordinate.py does in XLA, which says what is solved and
// whose algorithm it is. The coefficients are kept in 64 bits whatever the rows are.
// Comparisons are written so that a NaN ends the sweeps.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
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

template <typename T>
struct Problem {
  int64_t n, d;
  const T *x, *y, *low, *high, *ridge, *start;
  double epsilon, tol;
  int64_t max_iter;
  T *beta, *error;
  int32_t* n_iter;
};

template <typename T>
static INLINE double Dot(const double* w, const T* x, int64_t d) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < d; ++j) sum += w[j] * double(x[j]);
  return sum;
}

template <typename T>
static INLINE void Add(double* w, const T* x, double step, int64_t d) {
#pragma omp simd
  for (int64_t j = 0; j < d; ++j) w[j] += step * double(x[j]);
}

template <typename T>
static INLINE void Solve(Problem<T>& p) {
  const int64_t n = p.n, d = p.d;
  const double infinite = std::numeric_limits<double>::infinity();
  std::vector<double> w(d, 0.0), beta(n), curvature(n);
  std::vector<int64_t> active(n);
  for (int64_t i = 0; i < n; ++i) {
    const T* x = p.x + i * d;
    double squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t j = 0; j < d; ++j) squares += double(x[j]) * double(x[j]);
    curvature[i] = std::max(squares + double(p.ridge[i]), 1e-300);
    beta[i] = p.start[i];
    if (beta[i] != 0) Add(w.data(), x, beta[i], d);
    active[i] = i;
  }
  int64_t size = n, sweep = 0;
  double limit = infinite, worst = infinite;
  uint64_t random = 0x9e3779b97f4a7c15u;  // the optimum does not depend on it
  while (sweep < p.max_iter) {
    for (int64_t s = size - 1; s > 0; --s) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      std::swap(active[s], active[random % uint64_t(s + 1)]);
    }
    const bool whole = size == n;
    bool moved = false;
    worst = 0;
    for (int64_t s = 0; s < size; ++s) {
      const int64_t i = active[s];
      const T* x = p.x + i * d;
      const double old = beta[i], low = p.low[i], high = p.high[i];
      const double slope = Dot(w.data(), x, d) + double(p.ridge[i]) * old - double(p.y[i]);
      // Derivatives towards larger and towards smaller values.
      const double up = slope + (old >= 0 ? p.epsilon : -p.epsilon);
      const double down = slope + (old > 0 ? p.epsilon : -p.epsilon);
      const bool top = old >= high, bottom = old <= low;
      if ((top || up > limit) && (bottom || down < -limit)) {
        std::swap(active[s], active[--size]);  // it is not expected to move again
        --s;
        continue;
      }
      double violation = 0;
      if (!top && up < 0) violation = -up;
      if (!bottom && down > 0) violation = std::max(violation, down);
      if (slope != slope) violation = slope;
      if (!(violation <= worst)) worst = violation;
      if (worst != worst) break;
      if (violation < 1e-14) continue;
      const double h = curvature[i], free = old - slope / h, threshold = p.epsilon / h;
      double fresh = free > threshold ? free - threshold
                                      : (free < -threshold ? free + threshold : 0.0);
      fresh = std::min(std::max(fresh, low), high);
      if (fresh != old) {
        moved = true;
        beta[i] = fresh;
        Add(w.data(), x, fresh - old, d);
      }
    }
    ++sweep;
    if (worst != worst) break;
    if (worst <= p.tol || !moved) {
      if (whole) break;
      size = n;  // look again at those that were left out
      limit = infinite;
      continue;
    }
    limit = worst;
  }
  for (int64_t i = 0; i < n; ++i) p.beta[i] = T(beta[i]);
  *p.error = T(worst);
  *p.n_iter = int32_t(sweep);
}

CLONES static void SolveFloat(Problem<float>& p) { Solve(p); }
CLONES static void SolveDouble(Problem<double>& p) { Solve(p); }
static void Dispatch(Problem<float>& p) { SolveFloat(p); }
static void Dispatch(Problem<double>& p) { SolveDouble(p); }

template <ffi::DataType D>
using In = ffi::Buffer<D>;
template <ffi::DataType D>
using Out = ffi::Result<ffi::Buffer<D>>;

template <ffi::DataType D>
static ffi::Error DualCoordinate(In<D> x, In<D> y, In<D> low, In<D> high, In<D> ridge,
                                 In<D> epsilon, In<D> tol, In<D> start, Out<D> beta,
                                 Out<ffi::DataType::S32> n_iter, Out<D> error,
                                 int32_t max_iter) {
  using T = ffi::NativeType<D>;
  Problem<T> p{x.dimensions()[0],
               x.dimensions()[1],
               x.typed_data(),
               y.typed_data(),
               low.typed_data(),
               high.typed_data(),
               ridge.typed_data(),
               start.typed_data(),
               double(*epsilon.typed_data()),
               double(*tol.typed_data()),
               max_iter,
               beta->typed_data(),
               error->typed_data(),
               n_iter->typed_data()};
  Dispatch(p);
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
      .template Ret<In<D>>()
      .template Ret<ffi::Buffer<ffi::DataType::S32>>()
      .template Ret<In<D>>()
      .template Attr<int32_t>("max_iter");
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(dual_coordinate_float32, DualCoordinate<ffi::DataType::F32>,
                              Bind<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(dual_coordinate_float64, DualCoordinate<ffi::DataType::F64>,
                              Bind<ffi::DataType::F64>());
