// The best split of one feature by absolute error: sums of the distances of rows to
// their weighted median, of every first and of every last part of the rows in the order
// of the feature. Rows enter a Fenwick tree (Fenwick, 1994) at the rank of their target.

#ifndef JAXML_OPS_CART_MEDIAN_H_
#define JAXML_OPS_CART_MEDIAN_H_

#include <numeric>

#include "cart_search.h"

namespace cart {

// Weights, and weights times numbers, by rank.
class Ranks {
 public:
  void Reset(int64_t count) {
    count_ = count;
    for (top_ = 1; 2 * top_ <= count; top_ *= 2) {
    }
    weight_.assign(count + 1, 0.0);
    moment_.assign(count + 1, 0.0);
    total_ = total_moment_ = 0;
  }

  void Add(int64_t rank, double weight, double number) {
    total_ += weight;
    total_moment_ += weight * number;
    for (int64_t i = rank + 1; i <= count_; i += i & -i) {
      weight_[i] += weight;
      moment_[i] += weight * number;
    }
  }

  // Sum of weight times distance to the median. sorted: numbers by rank.
  double Deviation(const std::vector<double>& sorted) const {
    int64_t at = 0;
    double below = 0, moment = 0;
    for (int64_t step = top_; step; step /= 2) {
      if (at + step > count_ || below + weight_[at + step] > total_ / 2) continue;
      at += step;
      below += weight_[at];
      moment += moment_[at];
    }
    const double median = sorted[std::min(at, count_ - 1)];
    return (total_moment_ - moment) - median * (total_ - below) + median * below - moment;
  }

 private:
  int64_t count_ = 0, top_ = 1;
  std::vector<double> weight_, moment_;
  double total_ = 0, total_moment_ = 0;
};

// A node's targets in order, for each output; made once for all of its features.
struct Sorted {
  std::vector<std::vector<double>> numbers;  // by rank
  std::vector<std::vector<int32_t>> rank;    // by position

  template <class Kind, class Row>
  void Make(const Problem& p, const Row* rows, int64_t count) {
    numbers.resize(p.outputs);
    rank.resize(p.outputs);
    std::vector<int32_t> order(count);
    for (int64_t o = 0; o < p.outputs; ++o) {
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t c) {
        return Kind::Number(p, rows[a], o) < Kind::Number(p, rows[c], o);
      });
      numbers[o].resize(count);
      rank[o].resize(count);
      for (int64_t i = 0; i < count; ++i) {
        numbers[o][i] = Kind::Number(p, rows[order[i]], o);
        rank[o][order[i]] = int32_t(i);
      }
    }
  }
};

template <class Kind, class Code>
struct MedianSearch {
  using Row = typename Kind::Row;
  const Problem& p;
  const Totals& node;
  const Row* rows;
  int64_t count;
  double least;
  const Code* codes;
  const Sorted& sorted;
  int64_t feature;
  Split best;

  std::vector<int32_t> order;   // positions by code, missing ones last
  std::vector<int64_t> ends;    // of the rows of each bin that is there
  std::vector<int32_t> present;
  Ranks ranks;

  int64_t CodeOf(int32_t position) const {
    return codes[int64_t(rows[position].row) * p.d + feature];
  }

  void Arrange() {
    std::vector<uint64_t> keys(count);
    for (int64_t i = 0; i < count; ++i) keys[i] = uint64_t(CodeOf(i)) << 32 | uint64_t(i);
    std::sort(keys.begin(), keys.end());
    order.resize(count);
    for (int64_t i = 0; i < count; ++i) {
      order[i] = int32_t(keys[i] & 0xFFFFFFFFu);
      const int32_t code = int32_t(keys[i] >> 32);
      if (code == p.bins) continue;
      if (present.empty() || present.back() != code) {
        present.push_back(code);
        ends.push_back(i);
      }
      ends.back() = i + 1;
    }
  }

  // Adds to out[c] the deviation of the first cuts[c] rows of a sequence.
  template <class At>
  void Deviations(const std::vector<int64_t>& cuts, const At& at, std::vector<double>& out) {
    for (int64_t o = 0; o < p.outputs; ++o) {
      ranks.Reset(count);
      int64_t i = 0;
      for (size_t c = 0; c < cuts.size(); ++c) {
        for (; i < cuts[c]; ++i) {
          const int32_t position = at(i);
          ranks.Add(sorted.rank[o][position], rows[position].weight,
                    Kind::Number(p, rows[position], o));
        }
        out[c] += ranks.Deviation(sorted.numbers[o]);
      }
    }
  }

  // False: the feature is constant.
  bool Run(uint32_t path) {
    Arrange();
    const int64_t known = ends.empty() ? 0 : ends.back(), missing = count - known;
    if (present.empty() || (present.size() == 1 && !missing)) return false;
    best.missing_known = missing > 0;
    const double* low = p.low.data() + feature * p.bins;
    const double* high = p.high.data() + feature * p.bins;
    double bar = kLow;
    if (p.random) return Random(path, missing);
    for (int side = 0; side <= int(missing > 0); ++side) {
      const int64_t shift = side ? missing : 0;
      std::vector<int64_t> cuts(ends);
      if (side || !missing) cuts.pop_back();
      for (int64_t& cut : cuts) cut += shift;
      const auto at = [&](int64_t i) {
        return side ? order[i < missing ? known + i : i - missing] : order[i];
      };
      const std::vector<double> score = Scores(cuts, at);
      for (size_t c = 0; c < cuts.size(); ++c) {
        if (!(score[c] > bar)) continue;
        bar = score[c] + kTie * std::max(score[c] - node.score, 0.0) + node.slack;
        best.score = score[c];
        best.bin = present[c];
        best.missing_left = side;
        best.feature = int32_t(feature);
        best.threshold = c + 1 == present.size()
                             ? std::numeric_limits<double>::infinity()
                             : Middle(p, high[present[c]], low[present[c + 1]]);
      }
    }
    return true;
  }

  bool Random(uint32_t path, int64_t missing) {
    const Split drawn = Draw(p, feature, present, missing > 0, path);
    if (drawn.feature < 0) return true;
    const size_t c = std::upper_bound(present.begin(), present.end(), drawn.bin) -
                     present.begin() - 1;
    const int64_t known = ends.back(), shift = drawn.missing_left ? missing : 0;
    const auto at = [&](int64_t i) {
      return shift ? order[i < missing ? known + i : i - missing] : order[i];
    };
    const double score = Scores({ends[c] + shift}, at)[0];
    if (score == kLow) return true;
    best = drawn;
    best.score = score;
    return true;
  }

  // Of each cut; the lowest where a child would be too small.
  template <class At>
  std::vector<double> Scores(const std::vector<int64_t>& cuts, const At& at) {
    std::vector<double> front(cuts.size(), 0.0), back(cuts.size(), 0.0);
    std::vector<int64_t> ahead(cuts.size());
    for (size_t c = 0; c < cuts.size(); ++c) ahead[c] = count - cuts[cuts.size() - 1 - c];
    Deviations(cuts, at, front);
    Deviations(ahead, [&](int64_t i) { return at(count - 1 - i); }, back);
    double weight = 0;
    int64_t i = 0;
    for (size_t c = 0; c < cuts.size(); ++c) {
      for (; i < cuts[c]; ++i) weight += rows[at(i)].weight;
      const double other = node.weight - weight;
      const bool fits = cuts[c] >= p.min_leaf && count - cuts[c] >= p.min_leaf &&
                        weight >= least && other >= least;
      front[c] = fits ? -(front[c] + back[cuts.size() - 1 - c]) : kLow;
    }
    return front;
  }
};

}  // namespace cart

#endif  // JAXML_OPS_CART_MEDIAN_H_
