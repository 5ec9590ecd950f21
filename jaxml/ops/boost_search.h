// The search of a boosted tree: histograms of two siblings, and the best split of each.

#ifndef JAXML_OPS_BOOST_SEARCH_H_
#define JAXML_OPS_BOOST_SEARCH_H_

#include "boost_tree.h"

namespace jaxml {

inline Candidate Grower::Search(const Context& c, const Cell* cells, int64_t f) const {
  const int used = t_.used[f], missing = t_.missing;
  const bool has_missing = t_.kind[f] & 2;
  if (t_.kind[f] & 1) return ScanCategories(c, cells, used, has_missing ? missing : -1);
  Candidate best;
  const Cell none = {0, 0};
  if (used - 1 + has_missing > 0) {
    ScanBins(c, cells, used - 1 + has_missing, none, t_.monotone[f], false, &best);
  }
  if (has_missing && used > 1) {
    ScanBins(c, cells, used - 1, cells[missing], t_.monotone[f], true, &best);
  }
  return best;
}

// Counts the histogram of node `one`, takes it from `rest_cells`, which held that of both,
// and finds the best splits of both.
inline void Grower::Evaluate(int one, int rest, Cell* rest_cells) {
  constexpr int64_t kChunk = 4096, kFeatures = 4;
  Node& node = nodes_[one];
  const int32_t* rows = rows_ + node.begin;
  const int64_t m = node.rows(), chunks = (m + kChunk - 1) / kChunk;
  const int64_t size = t_.d * kCells;
  const bool by_rows = team_.members() > 1 && chunks >= 2;
  std::vector<char> came(team_.members(), 0);
  if (by_rows) {
    own_.resize(team_.members());
    team_.Run(chunks, [&](int64_t c, int member) {
      if (member && !own_[member]) own_[member].reset(new Cell[size]);
      Cell* cells = member ? own_[member].get() : node.cells;
      if (!came[member]) std::memset(static_cast<void*>(cells), 0, size * sizeof(Cell));
      came[member] = 1;
      const int64_t a = c * kChunk;
      Count(t_, payload_, rows + a, std::min(kChunk, m - a), 0, t_.d, cells);
    });
    if (!came[0]) std::memset(static_cast<void*>(node.cells), 0, size * sizeof(Cell));
  } else {
    std::memset(static_cast<void*>(node.cells), 0, size * sizeof(Cell));
  }
  const bool looks[2] = {Splittable(node), rest >= 0 && Splittable(nodes_[rest])};
  const int which[2] = {one, rest};
  std::vector<Candidate> found[2];
  std::vector<char> features[2];
  Context context[2];
  for (int k = 0; k < 2; ++k) {
    if (!looks[k]) continue;
    found[k].assign(t_.d, Candidate());
    features[k] = Features(nodes_[which[k]]);
    context[k] = ContextOf(nodes_[which[k]]);
  }
  const bool alone = !by_rows && m < 512;  // too little for two
  const int64_t parts = alone ? 1 : (t_.d + kFeatures - 1) / kFeatures;
  team_.Run(parts, [&](int64_t part, int) {
    const int64_t begin = alone ? 0 : part * kFeatures;
    const int64_t end = alone ? t_.d : std::min(t_.d, begin + kFeatures);
    if (!by_rows) Count(t_, payload_, rows, m, begin, end, node.cells);
    for (int64_t f = begin; f < end; ++f) {
      Cell* cells = node.cells + f * kCells;
      auto each = [&](auto&& act) {
        for (int b = 0; b < t_.used[f]; ++b) act(b);
        act(t_.missing);
      };
      for (size_t k = 1; k < came.size(); ++k) {
        if (!came[k]) continue;
        const Cell* more = own_[k].get() + f * kCells;
        each([&](int b) { cells[b] += more[b]; });
      }
      if (rest_cells) {
        Cell* left_over = rest_cells + f * kCells;
        each([&](int b) { left_over[b] -= cells[b]; });
      }
      for (int k = 0; k < 2; ++k) {
        if (!looks[k] || !features[k][f]) continue;
        found[k][f] = Search(context[k], k ? rest_cells + f * kCells : cells, f);
      }
    }
  });
  for (int k = 0; k < 2; ++k) {
    if (looks[k]) Choose(which[k], found[k]);
  }
}

// The features that a node may be split by.
inline std::vector<char> Grower::Features(const Node& node) const {
  std::vector<char> may(t_.d, t_.groups == 0);
  for (int64_t q = 0; q < t_.groups; ++q) {
    for (int64_t f = 0; node.groups[q] && f < t_.d; ++f) may[f] |= t_.group[q * t_.d + f];
  }
  for (int64_t f = 0; f < t_.d; ++f) may[f] = may[f] && t_.allowed[f];
  if (!(a_.max_features < 1)) return may;
  std::vector<std::pair<uint32_t, int64_t>> drawn;
  for (int64_t f = 0; f < t_.d; ++f) {
    if (may[f]) drawn.push_back({Mix(node.path + 0x9e3779b9u * uint32_t(f + 1)), f});
  }
  const double share = std::ceil(a_.max_features * double(drawn.size()) - 1e-5);
  const size_t keep = std::min<size_t>(drawn.size(), std::max(1.0, share));
  std::sort(drawn.begin(), drawn.end());
  for (size_t i = keep; i < drawn.size(); ++i) may[drawn[i].second] = 0;
  return may;
}

// Keeps the best split of a node: of those that are equal but for rounding, that of the
// lowest feature.
inline void Grower::Choose(int i, const std::vector<Candidate>& found) {
  Node& node = nodes_[i];
  double most = kNever;
  for (const Candidate& c : found) most = std::max(most, c.gain);
  const Context context = ContextOf(node);
  if (!(most > std::max(a_.min_gain, 1e-12 * std::fabs(context.loss)))) return;
  int64_t f = 0;
  while (!(found[f].gain >= most - kTie * most)) ++f;
  const Cell* cells = node.cells + f * kCells;
  node.feature = int(f);
  node.split = found[f];
  node.missing_left = node.split.missing_left;
  auto take = [&](int b) {
    node.set[b >> 5] |= 1u << (b & 31);
    node.left_sum += cells[b];
  };
  if (t_.kind[f] & 1) {
    const int missing = t_.kind[f] & 2 ? t_.missing : -1;
    const Ranked ranked = Rank(context, cells, t_.used[f], missing);
    for (int r = 0; r < node.split.bin; ++r) {
      take(ranked.cell[node.split.missing_left ? ranked.count - 1 - r : r]);
    }
    node.missing_left = node.set[t_.missing >> 5] >> (t_.missing & 31) & 1;
    return;
  }
  for (int b = 0; b <= node.split.bin; ++b) take(b);
  if (node.missing_left) take(t_.missing);
}

}  // namespace jaxml

#endif  // JAXML_OPS_BOOST_SEARCH_H_
