// Growth of one tree: depth first, or best split first up to a number of leaves.

#ifndef JAXML_OPS_CART_GROW_H_
#define JAXML_OPS_CART_GROW_H_

#include <set>
#include <utility>

#include "cart_find.h"

namespace cart {

// The tree with its nodes in depth-first order, left before right.
inline Tree Renumbered(const Problem& p, const Tree& tree) {
  const int64_t k = p.Values();
  Tree out;
  out.full = tree.full;
  std::vector<std::pair<int32_t, int32_t>> stack{{0, -1}};  // node, parent * 2 + is right
  while (!stack.empty()) {
    const auto [node, from] = stack.back();
    stack.pop_back();
    const int32_t id = int32_t(out.nodes.size());
    if (from >= 0) (from & 1 ? out.nodes[from / 2].right : out.nodes[from / 2].left) = id;
    out.nodes.push_back(tree.nodes[node]);
    out.values.insert(out.values.end(), tree.values.begin() + node * k,
                      tree.values.begin() + (node + 1) * k);
    if (tree.nodes[node].left < 0) continue;
    stack.push_back({tree.nodes[node].right, 2 * id + 1});
    stack.push_back({tree.nodes[node].left, 2 * id});
  }
  return out;
}

// Puts the parts in the places that the top has left for them.
inline Tree Joined(const Problem& p, const Tree& top, const std::vector<Tree>& parts) {
  const int64_t k = p.Values(), size = int64_t(top.nodes.size());
  std::vector<int32_t> place(size);
  int64_t total = 0, part = 0;
  for (int64_t i = 0; i < size; ++i) {
    place[i] = int32_t(total);
    total += top.nodes[i].count ? 1 : int64_t(parts[part++].nodes.size());
  }
  Tree out;
  out.full = top.full;
  out.nodes.reserve(total);
  out.values.reserve(total * k);
  part = 0;
  for (int64_t i = 0; i < size; ++i) {
    const bool whole = top.nodes[i].count == 0;
    const Tree& from = whole ? parts[part] : top;
    const int64_t first = whole ? 0 : i;
    const int64_t last = whole ? int64_t(from.nodes.size()) : i + 1;
    for (int64_t j = first; j < last; ++j) {
      Node node = from.nodes[j];
      if (node.left >= 0) {
        node.left = whole ? node.left + place[i] : place[node.left];
        node.right = whole ? node.right + place[i] : place[node.right];
      }
      out.nodes.push_back(node);
    }
    out.values.insert(out.values.end(), from.values.begin() + first * k,
                      from.values.begin() + last * k);
    part += whole;
  }
  return out;
}

template <class Kind, class Code>
class Grower {
 public:
  using Row = typename Kind::Row;

  // rows: of the whole tree; each node is a part of them, put in order in place.
  Grower(const Problem& p, const Code* codes, Row* rows, double total,
         const xla::ffi::ThreadPool* pool)
      : p_(p), codes_(codes), rows_(rows), total_(total), finder_(p, codes, pool, Least()) {}

  // Grows `root`. Nodes of fewer rows than `defer` are left to others, in `pending`: they
  // stand in the tree as nodes without rows.
  void DepthFirst(const Span& root, int64_t capacity, int64_t defer, std::vector<Span>* pending,
                  Tree& tree) {
    std::vector<Span> stack{root};
    while (!stack.empty()) {
      Span span = std::move(stack.back());
      stack.pop_back();
      const int32_t id = int32_t(tree.nodes.size());
      Link(span, id, tree);
      if (pending && span.end - span.begin < defer) {
        tree.nodes.emplace_back();
        tree.values.resize(tree.values.size() + p_.Values());
        pending->push_back(std::move(span));
        continue;
      }
      Split split = Open(span, tree);
      if (split.feature < 0) continue;
      if (int64_t(tree.nodes.size() + stack.size()) + 2 > capacity) {
        tree.full = true;
        continue;
      }
      const int64_t middle = Apply(span, split, tree.nodes[id]);
      stack.push_back(Child(span, middle, id, false));
      stack.push_back(Child(span, middle, id, true));
    }
  }

  void BestFirst(const Span& root, int64_t capacity, Tree& tree) {
    std::vector<std::pair<Span, Split>> open;  // by node
    std::set<std::pair<double, int32_t>> frontier;  // least decrease of impurity, node
    const auto add = [&](Span span) {
      const int32_t id = int32_t(tree.nodes.size());
      Link(span, id, tree);
      const Split split = Open(span, tree);
      if (split.feature >= 0) frontier.insert({-gain_, id});
      open.emplace_back(std::move(span), split);
    };
    add(root);
    for (int64_t leaves = 1; leaves < p_.max_leaves && !frontier.empty(); ++leaves) {
      if (int64_t(tree.nodes.size()) + 2 > capacity) {
        tree.full = true;
        break;
      }
      auto best = frontier.begin();  // of equal ones the node that came first
      const double bar = best->first + kTie * std::fabs(best->first);
      for (auto it = best; it != frontier.end() && it->first <= bar; ++it) {
        if (it->second < best->second) best = it;
      }
      const int32_t id = best->second;
      frontier.erase(best);
      const Span span = std::move(open[id].first);
      const int64_t middle = Apply(span, open[id].second, tree.nodes[id]);
      add(Child(span, middle, id, true));
      add(Child(span, middle, id, false));
    }
    // What was not split is a leaf.
    for (Node& node : tree.nodes) {
      if (node.left < 0) node.feature = -2, node.threshold = -2, node.missing_left = false;
    }
    tree = Renumbered(p_, tree);
  }

 private:
  double Least() const { return p_.min_fraction * total_; }

  static void Link(const Span& span, int32_t id, Tree& tree) {
    if (span.parent < 0) return;
    (span.is_left ? tree.nodes[span.parent].left : tree.nodes[span.parent].right) = id;
  }

  static Span Child(const Span& span, int64_t middle, int32_t parent, bool is_left) {
    Span child{span.begin, middle, span.depth + 1, parent, is_left,
               Mix(span.path, is_left ? kLeft : kRight), span.constant};
    if (!is_left) child.begin = middle, child.end = span.end;
    return child;
  }

  // Adds the node of a span, and finds its split: feature -1 where it stays a leaf.
  Split Open(Span& span, Tree& tree) {
    const int64_t count = span.end - span.begin;
    Describe<Kind>(p_, rows_ + span.begin, count, totals_);
    Node node;
    node.count = int32_t(count);
    node.weight = totals_.weight;
    node.impurity = totals_.impurity;
    tree.nodes.push_back(node);
    tree.values.insert(tree.values.end(), totals_.value.begin(), totals_.value.end());
    gain_ = 0;
    const bool leaf = totals_.pure || (p_.max_depth >= 0 && span.depth >= p_.max_depth) ||
                      count < p_.min_split || count < 2 * p_.min_leaf ||
                      totals_.weight < 2 * Least();
    if (leaf) return Split();
    const Split split = finder_.Find(totals_, rows_ + span.begin, count, span);
    if (split.feature < 0) return split;
    gain_ = (split.score - totals_.score) / double(p_.outputs) / total_;
    // At 0 rounding must not decide.
    const bool pays = !(p_.min_decrease > 0) || gain_ + 1e-15 >= p_.min_decrease;
    return pays ? split : Split();
  }

  // Puts the rows of a node in order, left before right, and returns where right begins.
  int64_t Apply(const Span& span, const Split& split, Node& node) {
    const int64_t count = span.end - span.begin;
    if (int64_t(scratch_.size()) < count) scratch_.resize(count);
    Row* rows = rows_ + span.begin;
    int64_t left = 0, right = 0;
    for (int64_t i = 0; i < count; ++i) {
#if defined(__GNUC__)
      if (i + 16 < count) {
        __builtin_prefetch(codes_ + int64_t(rows[i + 16].row) * p_.d + split.feature);
      }
#endif
      const Row row = rows[i];
      const int64_t code = codes_[int64_t(row.row) * p_.d + split.feature];
      const bool goes = code == p_.bins ? split.missing_left : code <= split.bin;
      rows[left] = row;
      scratch_[right] = row;
      left += goes;
      right += !goes;
    }
    std::copy(scratch_.begin(), scratch_.begin() + right, rows + left);
    node.feature = split.feature;
    node.threshold = split.threshold;
    node.missing_left = split.missing_known ? split.missing_left : left > right;
    return span.begin + left;
  }

  const Problem& p_;
  const Code* codes_;
  Row* rows_;
  const double total_;  // weight of all rows of the tree
  double gain_ = 0;  // of the node that was opened last
  Totals totals_;
  std::vector<Row> scratch_;
  Finder<Kind, Code> finder_;
};

}  // namespace cart

#endif  // JAXML_OPS_CART_GROW_H_
