// Growth of one boosted tree, best split first, from binned rows.
//
// Rows of a node are a stretch of one array of row numbers, cut in two where the node is
// split. The histogram of the smaller child is counted, that of the larger one is the rest
// of its parent's.

#ifndef JAXML_OPS_BOOST_TREE_H_
#define JAXML_OPS_BOOST_TREE_H_

#include <memory>
#include <queue>
#include <vector>

#include "boost_rows.h"
#include "boost_team.h"

namespace jaxml {

class Grower {
 public:
  Grower(const Table& table, const Numbers& numbers, int64_t leaves, int depth, Team& team)
      : t_(table), a_(numbers), leaves_(leaves), depth_(depth), team_(team) {
    bounded_ = std::isfinite(a_.max_step);
    for (int64_t f = 0; f < t_.d; ++f) bounded_ = bounded_ || t_.monotone[f] != 0;
    limit_ = std::max<int64_t>(64, (int64_t(1) << 28) / (t_.d * kCells * sizeof(Cell)));
  }

  // Grows nodes()[0] and what is below it over rows()[0 .. m).
  void Grow(const Cell* payload, Units units, Cell sum, std::vector<int32_t>& rows,
            uint32_t seed) {
    payload_ = payload;
    units_ = units;
    rows_ = rows.data();
    others_.resize(rows.size());
    nodes_.assign(1, Node());
    nodes_.reserve(std::min<int64_t>(2 * leaves_, 1 << 16));
    Node& root = nodes_[0];
    root.end = rows.size();
    root.sum = sum;
    root.path = seed;
    root.bounds = {-a_.max_step, a_.max_step};
    root.groups.assign(t_.groups, 1);
    root.value = LeafValue(units.Gradient(sum), units.Hessian(sum), a_, root.bounds);
    std::priority_queue<std::pair<double, int>> queue;  // ties: the older node
    auto push = [&](int i) {
      if (nodes_[i].feature >= 0) queue.push({nodes_[i].split.gain, -i});
    };
    if (leaves_ > 1 && Splittable(root)) {
      root.cells = Take();
      Evaluate(0, -1, nullptr);
      push(0);
    }
    int64_t count = 1;
    while (!queue.empty() && count < leaves_) {
      const int i = -queue.top().second;
      queue.pop();
      const bool last = ++count >= leaves_;
      Divide(i);
      if (!last) {
        Children(i);
        push(nodes_[i].left);
        push(nodes_[i].right);
      }
      Drop(nodes_[i]);
    }
    for (Node& node : nodes_) {
      Drop(node);
      if (node.left < 0) node.feature = -1;
    }
  }

  std::vector<Node>& nodes() { return nodes_; }

 private:
  bool Splittable(const Node& node) const {
    return node.depth < depth_ && double(node.rows()) >= 2 * std::max(a_.min_samples_leaf, 1.0);
  }

  Cell* Take() {
    ++taken_;
    if (free_.empty()) {
      store_.emplace_back(new Cell[t_.d * kCells]);
      return store_.back().get();
    }
    Cell* cells = free_.back();
    free_.pop_back();
    return cells;
  }

  void Drop(Node& node) {
    if (!node.cells) return;
    --taken_;
    free_.push_back(node.cells);
    node.cells = nullptr;
  }

  // Splits the rows of node i between two new nodes.
  void Divide(int i) {
    nodes_.resize(nodes_.size() + 2);
    Node& node = nodes_[i];
    node.left = int(nodes_.size()) - 2;
    node.right = node.left + 1;
    Node &left = nodes_[node.left], &right = nodes_[node.right];
    uint8_t goes_left[256] = {};
    for (int b = 0; b < kCells; ++b) goes_left[b] = node.set[b >> 5] >> (b & 31) & 1;
    const uint8_t* column = t_.columns + int64_t(node.feature) * t_.n;
    left.begin = node.begin;
    left.end = right.begin = node.begin + Partition(node, column, goes_left);
    right.end = node.end;
    for (Node* child : {&left, &right}) {
      const Cell sum = child == &left ? node.left_sum : node.sum - node.left_sum;
      child->sum = sum;
      child->depth = node.depth + 1;
      child->path = Mix(node.path ^ (child == &left ? 0x9e3779b9u : 0x7f4a7c15u));
      child->groups = node.groups;
      for (int64_t q = 0; q < t_.groups; ++q) {
        child->groups[q] = node.groups[q] && t_.group[q * t_.d + node.feature];
      }
      child->value = LeafValue(units_.Gradient(sum), units_.Hessian(sum), a_, node.bounds);
      child->bounds = node.bounds;
    }
    if (!(t_.kind[node.feature] & 2)) node.missing_left = left.rows() > right.rows();
    const int monotone = t_.monotone[node.feature];
    const double middle = (left.value + right.value) / 2;
    if (monotone > 0) left.bounds.upper = right.bounds.lower = middle;
    if (monotone < 0) left.bounds.lower = right.bounds.upper = middle;
  }

  int64_t Partition(const Node& node, const uint8_t* column, const uint8_t* goes_left) {
    constexpr int64_t kChunk = 8192;
    const int64_t m = node.rows(), chunks = (m + kChunk - 1) / kChunk;
    int32_t *rows = rows_ + node.begin, *others = others_.data();
    if (team_.members() == 1 || chunks < 4) {
      const int64_t left = Part(column, goes_left, rows, m, others);
      std::memcpy(rows + left, others, (m - left) * sizeof(int32_t));
      return left;
    }
    std::vector<int64_t> size(chunks), to_left(chunks), to_right(chunks);
    team_.Run(chunks, [&](int64_t c, int) {
      const int64_t a = c * kChunk, b = std::min(m, a + kChunk);
      size[c] = Part(column, goes_left, rows + a, b - a, others + a);
    });
    int64_t total = 0, rest = 0;
    for (int64_t c = 0; c < chunks; ++c) {
      to_left[c] = total;
      to_right[c] = rest;
      total += size[c];
      rest += std::min(m, (c + 1) * kChunk) - c * kChunk - size[c];
    }
    // Each move goes down to places that earlier moves have emptied, so in order.
    for (int64_t c = 0; c < chunks; ++c) {
      std::memmove(rows + to_left[c], rows + c * kChunk, size[c] * sizeof(int32_t));
    }
    team_.Run(chunks, [&](int64_t c, int) {
      const int64_t a = c * kChunk, b = std::min(m, a + kChunk);
      std::memcpy(rows + total + to_right[c], others + a, (b - a - size[c]) * sizeof(int32_t));
    });
    return total;
  }

  // Histograms and best splits of the children of node i.
  void Children(int i) {
    int small = nodes_[i].left, large = nodes_[i].right;
    if (nodes_[large].rows() < nodes_[small].rows()) std::swap(small, large);
    const bool splits_small = Splittable(nodes_[small]), splits_large = Splittable(nodes_[large]);
    if (!splits_small && !splits_large) return;
    if (!nodes_[i].cells) {  // its histogram was not kept
      for (int child : {small, large}) {
        if (!Splittable(nodes_[child])) continue;
        nodes_[child].cells = Take();
        Evaluate(child, -1, nullptr);
        Keep(child);
      }
      return;
    }
    nodes_[small].cells = Take();
    nodes_[large].cells = nodes_[i].cells;
    nodes_[i].cells = nullptr;
    Evaluate(small, large, nodes_[large].cells);
    Keep(small);
    Keep(large);
  }

  // A node that will not be split needs no histogram, and memory is bounded.
  void Keep(int i) {
    if (nodes_[i].feature < 0 || taken_ > limit_) Drop(nodes_[i]);
  }

  void Evaluate(int one, int rest, Cell* rest_cells);
  void Choose(int i, const std::vector<Candidate>& found);
  std::vector<char> Features(const Node& node) const;
  Context ContextOf(const Node& node) const {
    const double loss = node.value * Soft(units_.Gradient(node.sum), a_.l1);
    return {&a_, units_, node.sum, node.bounds, loss, bounded_};
  }
  Candidate Search(const Context& c, const Cell* cells, int64_t f) const;

  const Table& t_;
  const Numbers& a_;
  const int64_t leaves_;
  const int depth_;
  Team& team_;
  bool bounded_ = false;
  int64_t limit_, taken_ = 0;
  const Cell* payload_ = nullptr;
  Units units_;
  int32_t* rows_ = nullptr;
  std::vector<int32_t> others_;
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<Cell[]>> store_;
  std::vector<Cell*> free_;
  std::vector<std::unique_ptr<Cell[]>> own_;  // histograms of the helpers
};

}  // namespace jaxml

#endif  // JAXML_OPS_BOOST_TREE_H_
