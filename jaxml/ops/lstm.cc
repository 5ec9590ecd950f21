// An LSTM over time, forward and backward: what `_forward` and `_backward` of
// jaxml/ops/lstm.py do in XLA. Read that file for the meaning of the arrays.
//
// Rows of a batch do not see each other, so each thread takes some rows through all
// steps and waits for nobody. Columns of the weights are packed so that a tile holds
// all four gates of sixteen features in registers, where the gates are applied.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

typedef float V __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16, kWide = 64, kRows = 6;

// x P(x^2) / Q(x^2), by least squares of the relative error, weighted until it was level
// (6e-9 before rounding) up to 7.9, where tanh is 1 but for half an ulp of float32. All
// coefficients are positive, so nothing cancels.
static INLINE V Tanh(V x) {
  const V most = V{} + 7.9f;
  x = x > most ? most : x;
  x = x < -most ? -most : x;
  const V s = x * x;
  V p = s * 1.542933070197705e-08f + 2.2024203644832596e-05f;
  p = p * s + 3.579049836844206e-03f;
  p = p * s + 0.1345066875219345f;
  p = p * s + 1.0f;
  V q = s * 8.599328680247709e-07f + 3.4237452200613916e-04f;
  q = q * s + 2.6192456483840942e-02f;
  q = q * s + 0.4678399860858917f;
  q = q * s + 1.0f;
  return x * p / q;
}

static INLINE V Sigmoid(V x) { return Tanh(x * 0.5f) * 0.5f + 0.5f; }

static INLINE V Load(const float* from, int64_t count) {
  if (count >= kLanes) return *reinterpret_cast<const V*>(from);
  V v = {};
  std::memcpy(&v, from, count * sizeof(float));
  return v;
}

static INLINE void Store(float* to, V v, int64_t count) {
  if (count >= kLanes) {
    *reinterpret_cast<V*>(to) = v;
  } else {
    std::memcpy(to, &v, count * sizeof(float));
  }
}

// sum[r][j] += a[r][k] w[k][j] for R rows of `a` and four vectors of columns.
template <int R>
static INLINE void Multiply(V (&sum)[R][4], const float* a, int64_t stride, const float* w,
                            int64_t depth) {
  for (int64_t k = 0; k < depth; ++k, w += kWide) {
    const V* column = reinterpret_cast<const V*>(w);
    const V w0 = column[0], w1 = column[1], w2 = column[2], w3 = column[3];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float value = a[r * stride + k];
      sum[r][0] += w0 * value;
      sum[r][1] += w1 * value;
      sum[r][2] += w2 * value;
      sum[r][3] += w3 * value;
    }
  }
}

struct Sizes {
  int64_t t, b, d, h;
  bool keep, reverse;
};

struct Arrays {
  const float *x, *h0, *c0, *packed, *bias;  // packed [panels][d + h][64], bias [panels][64]
  float *y, *memory, *gates, *last;  // last: the memory at the end [b, h]
};

template <int R>
static INLINE void Step(const Sizes& n, const Arrays& a, int64_t panel, int64_t row,
                        int64_t now, int64_t before, bool first) {
  const int64_t at = panel * kLanes, count = std::min(kLanes, n.h - at);
  const float* w = a.packed + panel * (n.d + n.h) * kWide;
  const V* bias = reinterpret_cast<const V*>(a.bias + panel * kWide);
  V sum[R][4];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    for (int g = 0; g < 4; ++g) sum[r][g] = bias[g];
  }
  const float* hidden = first ? a.h0 : a.y + before * n.b * n.h;
  Multiply<R>(sum, a.x + (now * n.b + row) * n.d, n.d, w, n.d);
  Multiply<R>(sum, hidden + row * n.h, n.h, w + n.d * kWide, n.h);
  for (int r = 0; r < R; ++r) {
    const int64_t place = (row + r) * n.h + at;
    const V i = Sigmoid(sum[r][0]), f = Sigmoid(sum[r][1]);
    const V g = Tanh(sum[r][2]), o = Sigmoid(sum[r][3]);
    const V old = Load((first ? a.c0 : a.last) + place, count);
    const V c = f * old + i * g;
    Store(a.last + place, c, count);
    Store(a.y + now * n.b * n.h + place, o * Tanh(c), count);
    if (n.keep) {
      Store(a.memory + now * n.b * n.h + place, c, count);
      float* gates = a.gates + (now * n.b + row + r) * 4 * n.h + at;
      Store(gates, i, count);
      Store(gates + n.h, f, count);
      Store(gates + 2 * n.h, g, count);
      Store(gates + 3 * n.h, o, count);
    }
  }
}

CLONES static void ForwardRows(const Sizes& n, const Arrays& a, int64_t begin, int64_t end) {
  const int64_t panels = (n.h + kLanes - 1) / kLanes;
  for (int64_t s = 0; s < n.t; ++s) {
    const int64_t now = n.reverse ? n.t - 1 - s : s, before = n.reverse ? now + 1 : now - 1;
    for (int64_t panel = 0; panel < panels; ++panel) {
      for (int64_t row = begin; row < end;) {
        const int64_t tiles = (end - row + kRows - 1) / kRows;
        const int64_t rows = (end - row + tiles - 1) / tiles;  // even: 32 is 6 6 5 5 5 5
        switch (rows) {
          case 6: Step<6>(n, a, panel, row, now, before, s == 0); break;
          case 5: Step<5>(n, a, panel, row, now, before, s == 0); break;
          case 4: Step<4>(n, a, panel, row, now, before, s == 0); break;
          case 3: Step<3>(n, a, panel, row, now, before, s == 0); break;
          case 2: Step<2>(n, a, panel, row, now, before, s == 0); break;
          default: Step<1>(n, a, panel, row, now, before, s == 0);
        }
        row += rows;
      }
    }
  }
}

struct Slopes {
  const float *gates, *memory, *c0, *packed;  // packed [panels][4 h][64] of the transpose
  const float *dy, *dh, *dc;                  // of the outputs and of the last state
  float *dz, *dh0, *dc0;                      // dh0 and dc0 carry the state's slope
};

// Slopes of the sums of the gates at one step.
static INLINE void Gates(const Sizes& n, const Slopes& a, int64_t row, int64_t now,
                         int64_t before, bool first) {
  for (int64_t at = 0; at < n.h; at += kLanes) {
    const int64_t count = std::min(kLanes, n.h - at);
    const int64_t place = row * n.h + at, step = n.b * n.h;
    const float* gates = a.gates + (now * n.b + row) * 4 * n.h + at;
    const V i = Load(gates, count), f = Load(gates + n.h, count);
    const V g = Load(gates + 2 * n.h, count), o = Load(gates + 3 * n.h, count);
    const V old = Load((first ? a.c0 : a.memory + before * step) + place, count);
    const V tanh = Tanh(Load(a.memory + now * step + place, count));
    const V dh = Load(a.dh0 + place, count) + Load(a.dy + now * step + place, count);
    const V dc = Load(a.dc0 + place, count) + dh * o * (1 - tanh * tanh);
    float* dz = a.dz + (now * n.b + row) * 4 * n.h + at;
    Store(dz, dc * g * i * (1 - i), count);
    Store(dz + n.h, dc * old * f * (1 - f), count);
    Store(dz + 2 * n.h, dc * i * (1 - g * g), count);
    Store(dz + 3 * n.h, dh * tanh * o * (1 - o), count);
    Store(a.dc0 + place, dc * f, count);
  }
}

template <int R>
static INLINE void Back(const Sizes& n, const Slopes& a, int64_t panel, int64_t row,
                        int64_t now) {
  V sum[R][4] = {};
  Multiply<R>(sum, a.dz + (now * n.b + row) * 4 * n.h, 4 * n.h,
              a.packed + panel * 4 * n.h * kWide, 4 * n.h);
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < 4; ++j) {
      const int64_t at = panel * kWide + j * kLanes;
      if (at < n.h) Store(a.dh0 + (row + r) * n.h + at, sum[r][j], n.h - at);
    }
  }
}

CLONES static void BackwardRows(const Sizes& n, const Slopes& a, int64_t begin, int64_t end) {
  const int64_t panels = (n.h + kWide - 1) / kWide;
  for (int64_t s = n.t - 1; s >= 0; --s) {
    const int64_t now = n.reverse ? n.t - 1 - s : s, before = n.reverse ? now + 1 : now - 1;
    for (int64_t row = begin; row < end; ++row) Gates(n, a, row, now, before, s == 0);
    for (int64_t panel = 0; panel < panels; ++panel) {
      for (int64_t row = begin; row < end;) {
        const int64_t tiles = (end - row + kRows - 1) / kRows;
        const int64_t rows = (end - row + tiles - 1) / tiles;  // even: 32 is 6 6 5 5 5 5
        switch (rows) {
          case 6: Back<6>(n, a, panel, row, now); break;
          case 5: Back<5>(n, a, panel, row, now); break;
          case 4: Back<4>(n, a, panel, row, now); break;
          case 3: Back<3>(n, a, panel, row, now); break;
          case 2: Back<2>(n, a, panel, row, now); break;
          default: Back<1>(n, a, panel, row, now);
        }
        row += rows;
      }
    }
  }
}

// Parts of the batch, one for each thread.
template <typename F>
static void OverRows(ffi::ThreadPool pool, int64_t b, const F& rows) {
  const int64_t parts = std::min(thread_count(pool), (b + kRows - 1) / kRows);
  parallel_for(pool, parts, [&](int64_t p) { rows(b * p / parts, b * (p + 1) / parts); });
}

using Floats = ffi::Buffer<ffi::DataType::F32>;
using Result = ffi::Result<Floats>;

// Whether a buffer has so many numbers; what is read and written beyond them is not ours.
template <typename B>
static bool Holds(const B& buffer, int64_t count) {
  return int64_t(buffer.element_count()) == count;
}

static ffi::Error Forward(ffi::ThreadPool pool, Floats x, Floats h0, Floats c0, Floats input,
                          Floats hidden, Floats bias, Result y, Result last, Result memory,
                          Result gates, int32_t keep, int32_t reverse) {
  const auto shape = x.dimensions();
  if (shape.size() != 3 || h0.dimensions().size() != 2) {
    return ffi::Error::InvalidArgument("lstm: x must be [t, b, d] and the state [b, h]");
  }
  const Sizes n = {shape[0], shape[1], shape[2], h0.dimensions()[1], keep != 0, reverse != 0};
  const int64_t all = n.t * n.b * n.h;
  if (n.t < 1 || !Holds(h0, n.b * n.h) || !Holds(c0, n.b * n.h) ||
      !Holds(input, n.d * 4 * n.h) || !Holds(hidden, n.h * 4 * n.h) ||
      !Holds(bias, 4 * n.h) || !Holds(*y, all) || !Holds(*last, n.b * n.h) ||
      (n.keep && (!Holds(*memory, all) || !Holds(*gates, 4 * all)))) {
    return ffi::Error::InvalidArgument("lstm: the shapes do not fit");
  }
  return guarded([&] {
    const int64_t panels = (n.h + kLanes - 1) / kLanes, depth = n.d + n.h;
    std::vector<float> packed(panels * depth * kWide), offsets(panels * kWide);
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t at = panel * kLanes, count = std::min(kLanes, n.h - at);
      for (int64_t g = 0; g < 4; ++g) {
        const int64_t from = g * n.h + at, to = panel * kWide + g * kLanes;
        std::copy_n(bias.typed_data() + from, count, offsets.data() + to);
        for (int64_t k = 0; k < depth; ++k) {
          const float* row = k < n.d ? input.typed_data() + k * 4 * n.h
                                     : hidden.typed_data() + (k - n.d) * 4 * n.h;
          std::copy_n(row + from, count,
                      packed.data() + (panel * depth + k) * kWide + g * kLanes);
        }
      }
    }
    const Arrays a = {x.typed_data(),   h0.typed_data(),       c0.typed_data(),
                      packed.data(),    offsets.data(),        y->typed_data(),
                      memory->typed_data(), gates->typed_data(), last->typed_data()};
    OverRows(pool, n.b, [&](int64_t begin, int64_t end) { ForwardRows(n, a, begin, end); });
    return ffi::Error::Success();
  });
}

static ffi::Error Backward(ffi::ThreadPool pool, Floats gates, Floats memory, Floats c0,
                           Floats hidden, Floats dy, Floats dh, Floats dc, Result dz,
                           Result dh0, Result dc0, int32_t reverse) {
  const auto shape = memory.dimensions();
  if (shape.size() != 3) {
    return ffi::Error::InvalidArgument("lstm: the memory must be [t, b, h]");
  }
  const Sizes n = {shape[0], shape[1], 0, shape[2], true, reverse != 0};
  const int64_t state = n.b * n.h, all = n.t * state;
  if (n.t < 1 || !Holds(gates, 4 * all) || !Holds(c0, state) ||
      !Holds(hidden, n.h * 4 * n.h) || !Holds(dy, all) || !Holds(dh, state) ||
      !Holds(dc, state) || !Holds(*dz, 4 * all) || !Holds(*dh0, state) ||
      !Holds(*dc0, state)) {
    return ffi::Error::InvalidArgument("lstm: the shapes do not fit");
  }
  return guarded([&] {
    const int64_t panels = (n.h + kWide - 1) / kWide, depth = 4 * n.h;
    std::vector<float> packed(panels * depth * kWide);
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t count = std::min(kWide, n.h - panel * kWide);
      for (int64_t k = 0; k < depth; ++k) {
        float* to = packed.data() + (panel * depth + k) * kWide;
        for (int64_t j = 0; j < count; ++j) {
          to[j] = hidden.typed_data()[(panel * kWide + j) * depth + k];
        }
      }
    }
    std::copy_n(dh.typed_data(), n.b * n.h, dh0->typed_data());
    std::copy_n(dc.typed_data(), n.b * n.h, dc0->typed_data());
    const Slopes a = {gates.typed_data(), memory.typed_data(), c0.typed_data(),
                      packed.data(),      dy.typed_data(),     dh.typed_data(),
                      dc.typed_data(),    dz->typed_data(),    dh0->typed_data(),
                      dc0->typed_data()};
    OverRows(pool, n.b, [&](int64_t begin, int64_t end) { BackwardRows(n, a, begin, end); });
    return ffi::Error::Success();
  });
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_forward, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<int32_t>("keep")
                                  .Attr<int32_t>("reverse"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_backward, Backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<int32_t>("reverse"));
