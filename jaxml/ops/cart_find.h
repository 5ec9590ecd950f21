// The best split of a node over its features: all of them, or some in random order.

#ifndef JAXML_OPS_CART_FIND_H_
#define JAXML_OPS_CART_FIND_H_

#include <memory>
#include <type_traits>

#include "cart_median.h"
#include "parallel.h"

namespace cart {

// A node that waits: its rows, and the features that are constant in it (one bit each).
struct Span {
  int64_t begin, end;
  int32_t depth, parent;
  bool is_left;
  uint32_t path;
  std::vector<uint64_t> constant;
};

template <class Kind, class Code>
class Finder {
 public:
  using Row = typename Kind::Row;

  // pool: threads for the features of one node; null for one thread.
  Finder(const Problem& p, const Code* codes, const xla::ffi::ThreadPool* pool, double least)
      : p_(p), codes_(codes), pool_(pool), least_(least) {}

  // Feature -1 where nothing can be split. Marks what turns out to be constant.
  Split Find(const Totals& node, const Row* rows, int64_t count, Span& span) {
    node_ = &node;
    rows_ = rows;
    count_ = count;
    path_ = span.path;
    best_ = Split();
    bar_ = kLow;
    if (p_.criterion == kAbsolute) {
      if constexpr (kNumbers) sorted_.template Make<Kind>(p_, rows, count);
    }
    Select(span);
    bool varied = Look(span);
    // At least one feature that is not constant is looked at.
    for (size_t i = p_.max_features; !varied && i < keys_.size(); ++i) {
      if (i == size_t(p_.max_features)) std::sort(keys_.begin() + i, keys_.end());
      chosen_.assign(1, int64_t(keys_[i] & 0xFFFFFFFFu));
      if (!Constant(span, chosen_[0])) varied = Look(span);
    }
    return best_;
  }

 private:
  static constexpr bool kNumbers =
      std::is_same<Kind, Numbers>::value || std::is_same<Kind, ManyNumbers>::value;

  static bool Constant(const Span& span, int64_t f) {
    return span.constant[f / 64] >> (f % 64) & 1;
  }

  // The first max_features by hash, ascending (shuffled: as they were drawn), less those
  // known to be constant. Where features tie the first of them wins.
  void Select(const Span& span) {
    chosen_.clear();
    keys_.clear();
    if (p_.max_features >= p_.d && !p_.shuffle) {
      for (int64_t f = 0; f < p_.d; ++f) {
        if (!Constant(span, f)) chosen_.push_back(f);
      }
      return;
    }
    const uint32_t state = Mix(span.path, kFeature);
    keys_.resize(p_.d);
    for (int64_t f = 0; f < p_.d; ++f) {
      keys_[f] = uint64_t(Mix(state, uint32_t(f))) << 32 | uint64_t(f);
    }
    if (p_.shuffle) {
      std::sort(keys_.begin(), keys_.end());
    } else {
      std::nth_element(keys_.begin(), keys_.begin() + p_.max_features, keys_.end());
    }
    for (int64_t i = 0; i < p_.max_features; ++i) {
      const int64_t f = int64_t(keys_[i] & 0xFFFFFFFFu);
      if (!Constant(span, f)) chosen_.push_back(f);
    }
    if (!p_.shuffle) std::sort(chosen_.begin(), chosen_.end());
  }

  // Searches the chosen features. False: all of them are constant.
  bool Look(Span& span) {
    const int64_t m = int64_t(chosen_.size());
    found_.assign(m, Split());
    varies_.assign(m, 0);
    const int64_t threads = pool_ ? thread_count(*pool_) : 1;
    const int64_t tasks = m * count_ < (1 << 15) ? 1 : std::min(m, threads == 1 ? 1 : 2 * threads);
    while (int64_t(benches_.size()) < tasks) {
      benches_.push_back(std::make_unique<Bench>(p_, Kind::Width(p_)));
    }
    const auto task = [&](int64_t i) { Some(m * i / tasks, m * (i + 1) / tasks, *benches_[i]); };
    if (tasks > 1) {
      parallel_for(*pool_, tasks, task);
    } else if (m > 0) {
      task(0);
    }
    bool varied = false;
    for (int64_t i = 0; i < m; ++i) {
      varied |= varies_[i] != 0;
      if (!varies_[i]) span.constant[chosen_[i] / 64] |= uint64_t(1) << (chosen_[i] % 64);
      if (!(found_[i].score > bar_)) continue;
      best_ = found_[i];
      bar_ = best_.score + kTie * std::max(best_.score - node_->score, 0.0) + node_->slack;
    }
    return varied;
  }

  // Chosen features from `begin` to `end`.
  void Some(int64_t begin, int64_t end, Bench& bench) {
    if (p_.criterion == kAbsolute) {
      if constexpr (kNumbers) {
        for (int64_t i = begin; i < end; ++i) {
          MedianSearch<Kind, Code> search{p_,     *node_, rows_,      count_, least_,
                                          codes_, sorted_, chosen_[i]};
          varies_[i] = search.Run(path_);
          found_[i] = search.best;
        }
      }
      return;
    }
    const bool dense = 4 * count_ > p_.bins;
    const int64_t entries = (p_.bins + 1) * Kind::Width(p_);
    const int64_t step = dense ? bench.group : 1;
    for (int64_t i = begin; i < end; i += step) {
      const int64_t m = std::min(step, end - i);
      dense ? Dense(chosen_.data() + i, m, bench) : Sparse(chosen_[i], bench);
      for (int64_t g = 0; g < m; ++g) {
        int32_t* numbers =
            bench.rows.empty() ? nullptr : bench.rows.data() + g * (p_.bins + 1);
        Search<Kind> search{p_,     *node_,         bench,   count_,
                            least_, chosen_[i + g], nullptr, nullptr};
        varies_[i + g] = search.Run(dense, path_, bench.table.data() + g * entries, numbers);
        found_[i + g] = search.best;
      }
    }
  }

  // Sums up the rows by the bins of m features.
  void Dense(const int64_t* features, int64_t m, Bench& bench) {
    const int64_t width = Kind::Width(p_), entries = (p_.bins + 1) * width;
    double* table = bench.table.data();
    int32_t* numbers = bench.rows.empty() ? nullptr : bench.rows.data();
    for (int64_t i = 0; i < count_; ++i) {
      Prefetch(i);
      const Row row = rows_[i];
      const Code* code = codes_ + int64_t(row.row) * p_.d;
      for (int64_t g = 0; g < m; ++g) {
        Kind::Add(p_, table + g * entries + int64_t(code[features[g]]) * width, row);
      }
      if (!numbers) continue;
      for (int64_t g = 0; g < m; ++g) ++numbers[g * (p_.bins + 1) + code[features[g]]];
    }
  }

  // The same for one feature, with the bins that are there in a bitmap.
  void Sparse(int64_t feature, Bench& bench) {
    const int64_t width = Kind::Width(p_);
    for (int64_t i = 0; i < count_; ++i) {
      Prefetch(i);
      const Row row = rows_[i];
      const int64_t code = codes_[int64_t(row.row) * p_.d + feature];
      Kind::Add(p_, bench.table.data() + code * width, row);
      bench.bits[code >> 6] |= uint64_t(1) << (code & 63);
      bench.words[code >> 12] |= uint64_t(1) << (code >> 6 & 63);
      if (!bench.rows.empty()) ++bench.rows[code];
    }
  }

  void Prefetch(int64_t i) const {
#if defined(__GNUC__)
    if (i + 16 < count_) {
      __builtin_prefetch(codes_ + int64_t(rows_[i + 16].row) * p_.d);
    }
#endif
  }

  const Problem& p_;
  const Code* codes_;
  const xla::ffi::ThreadPool* pool_;
  const double least_;  // weight of a child

  const Totals* node_ = nullptr;
  const Row* rows_ = nullptr;
  int64_t count_ = 0;
  uint32_t path_ = 0;
  Split best_;
  double bar_ = kLow;
  Sorted sorted_;
  std::vector<uint64_t> keys_;  // hash and feature
  std::vector<int64_t> chosen_;
  std::vector<Split> found_;
  std::vector<char> varies_;
  std::vector<std::unique_ptr<Bench>> benches_;
};

}  // namespace cart

#endif  // JAXML_OPS_CART_FIND_H_
