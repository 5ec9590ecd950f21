// Loops over the threads of XLA's own pool, for the kernels of this folder.
//
//   parallel_for(pool, count, [&](int64_t i) { ... });     // pool: Ctx<ffi::ThreadPool>
//
// The caller works too, and waits only for steps that another thread has begun. So a pool
// whose threads are all busy, or all inside of such loops, costs time and never a deadlock,
// and loops may be nested. Which thread runs a step is left to chance: let each step write
// to places of its own, and sum up what the steps leave in the order of the steps.

#ifndef JAXML_OPS_PARALLEL_H_
#define JAXML_OPS_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

// One body for each generation of processors, chosen when the library is loaded. What such
// a function calls in its hot loop must be INLINE, or it is built for the oldest of them.
#ifndef CLONES
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#endif
#ifndef INLINE
#define INLINE inline __attribute__((always_inline))
#endif

namespace jaxml {

// What the threads of one loop share; it outlives the loop in tasks that come too late.
template <typename F>
class Loop {
 public:
  Loop(const F* step, int64_t count) : step_(step), count_(count) {}

  // Takes steps until none are left. `step_` is touched only for a step that was taken,
  // so only while the caller, who owns it, is still in `Wait`.
  void Work() {
    int64_t mine = 0;
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_; ++mine) {
      try {
        (*step_)(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
    if (mine == 0) return;
    if (done_.fetch_add(mine, std::memory_order_acq_rel) + mine == count_) {
      std::lock_guard<std::mutex> lock(mutex_);
      end_.notify_all();
    }
  }

  void Wait() {
    for (int spin = 0; spin < 4000; ++spin) {  // most loops end within microseconds
      if (done_.load(std::memory_order_acquire) == count_) break;
#if defined(__x86_64__) && defined(__GNUC__)
      __builtin_ia32_pause();
#endif
    }
    std::unique_lock<std::mutex> lock(mutex_);
    end_.wait(lock, [this] { return done_.load(std::memory_order_acquire) == count_; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const F* step_;
  const int64_t count_;
  std::atomic<int64_t> next_{0}, done_{0};
  std::mutex mutex_;
  std::condition_variable end_;
  std::exception_ptr error_;
};

}  // namespace jaxml

// Threads that a loop may run on, the caller's included; at least 1.
inline int64_t thread_count(xla::ffi::ThreadPool pool) {
  return std::max<int64_t>(1, pool.num_threads());
}

// Calls step(0), ..., step(count - 1), each once, in no order, on any threads; returns when
// all have ended. The first exception that a step throws is thrown again at the end.
template <typename F>
void parallel_for(xla::ffi::ThreadPool pool, int64_t count, const F& step) {
  if (count <= 0) return;
  const int64_t helpers = std::min(count, thread_count(pool)) - 1;
  if (helpers == 0) {
    for (int64_t i = 0; i < count; ++i) step(i);
    return;
  }
  auto loop = std::make_shared<jaxml::Loop<F>>(&step, count);
  for (int64_t i = 0; i < helpers; ++i) {
    pool.Schedule([loop] { loop->Work(); });
  }
  loop->Work();
  loop->Wait();
}

// Cuts `total` into parts of at least `least`, as many as four for each thread; the cuts
// depend on the number of threads, so sums over parts must not (sum integers, or write to
// places of their own). step(begin, end).
template <typename F>
void parallel_range(xla::ffi::ThreadPool pool, int64_t total, int64_t least, const F& step) {
  if (total <= 0) return;
  const int64_t most = thread_count(pool) > 1 ? 4 * thread_count(pool) : 1;
  const int64_t parts =
      std::max<int64_t>(1, std::min(most, total / std::max<int64_t>(least, 1)));
  parallel_for(pool, parts, [&](int64_t part) {
    step(total * part / parts, total * (part + 1) / parts);
  });
}

// Runs the body of a kernel; what it throws (no memory) becomes an error of the program
// instead of its end. return guarded([&] { ...; return ffi::Error::Success(); });
template <typename F>
xla::ffi::Error guarded(const F& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    return xla::ffi::Error(xla::ffi::ErrorCode::kResourceExhausted, error.what());
  }
}

#endif  // JAXML_OPS_PARALLEL_H_
