// A few threads that stay together through the many short loops of one kernel call.
//
//   assemble(members, [&](Team& team) {
//     team.Run(count, [&](int64_t i, int member) { ... });
//   });
//
// Loops over a small node of a tree last microseconds, less than it takes to wake a thread;
// so the helpers spin between loops, for as long as the call lasts. The leader never waits
// for a helper that has not taken a step, so none need come at all.

#ifndef JAXML_OPS_BOOST_TEAM_H_
#define JAXML_OPS_BOOST_TEAM_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "parallel.h"

namespace jaxml {

class Team {
 public:
  explicit Team(int members) : members_(members) {}

  int members() const { return members_; }

  // Calls step(i, member) for i below count, each once, on any members.
  template <typename F>
  void Run(int64_t count, const F& step) {
    if (members_ == 1 || count < 2 || count >= kMost) {
      for (int64_t i = 0; i < count; ++i) step(i, 0);
      return;
    }
    body_ = &step;
    call_ = [](const void* body, int64_t i, int member) {
      (*static_cast<const F*>(body))(i, member);
    };
    done_.store(0, std::memory_order_relaxed);
    const uint64_t loop = (loop_ = (loop_ + 1) & kLoops) << 40;
    word_.store(loop | (uint64_t(count) << 20), std::memory_order_release);
    while (Take(0)) {
    }
    while (done_.load(std::memory_order_acquire) != count) Pause();
    if (error_) std::rethrow_exception(error_);
  }

  // What a helper does until the leader is through.
  void Help(int member) {
    int idle = 0;
    while (!over_.load(std::memory_order_acquire)) {
      if (Take(member)) {
        idle = 0;
      } else if (++idle < 4000) {
        Pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  void End() { over_.store(true, std::memory_order_release); }

 private:
  static constexpr int64_t kMost = 1 << 20;
  static constexpr uint64_t kLoops = (1 << 24) - 1;

  static void Pause() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_ia32_pause();
#endif
  }

  // Takes one step of the loop at hand. The word holds the number of the loop, of its steps
  // and of those taken, so a step is taken only of the loop that is running, and what the
  // leader wrote before it began the loop is seen.
  bool Take(int member) {
    uint64_t word = word_.load(std::memory_order_acquire);
    const uint64_t next = word & (kMost - 1), count = (word >> 20) & (kMost - 1);
    if (next >= count) return false;
    if (!word_.compare_exchange_strong(word, word + 1, std::memory_order_acq_rel)) {
      return true;  // somebody was faster: look again
    }
    try {
      call_(body_, int64_t(next), member);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_acq_rel);
    return true;
  }

  const int members_;
  const void* body_ = nullptr;
  void (*call_)(const void*, int64_t, int) = nullptr;
  uint64_t loop_ = 0;
  std::mutex mutex_;
  std::exception_ptr error_;
  alignas(64) std::atomic<uint64_t> word_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<bool> over_{false};
};

// Runs `lead`, with up to members - 1 threads to help it. They are threads of their own:
// those of XLA's pool may all be waiting for this very call, where a loop of the program
// has handed it on, and it would be alone. Nobody waits for them to end: what they share
// lives as long as they do.
template <typename F>
void assemble(int members, const F& lead) {
  auto team = std::make_shared<Team>(members);
  struct Ender {
    Team& team;
    ~Ender() { team.End(); }
  } ender{*team};
  try {
    for (int i = 1; i < members; ++i) std::thread([team, i] { team->Help(i); }).detach();
  } catch (const std::system_error&) {
    // No more threads are to be had: those that came do.
  }
  lead(*team);
}

}  // namespace jaxml

#endif  // JAXML_OPS_BOOST_TEAM_H_
