#include "tensor/optimizer_step.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/copy.h"
#include "tensor/parallel.h"
#include "tensor/step_decision.h"

namespace proxent::kernel {
namespace {
constexpr std::int64_t kGrain = 1 << 14;  // elements per piece of work
constexpr int kLanes = 32;

double squared(double x) { return x * x; }

double now(const LiveNumber& number) {
  return number.live.is_defined() ? number.factor * number.live.data<double>()[0] : number.factor;
}

void write_copies(const Tensor& value, StepCopies& copies) {
  if (copies.rounded.is_defined()) convert(Cpu{}, value, copies.rounded);
  if (copies.average.is_defined()) move_towards(Cpu{}, value, copies.average_share, copies.average);
}
}  // namespace

void sgd_step(Cpu, const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity,
              StepCopies& copies) {
  if (!std::isfinite(now(step.gradient_scale))) return;
  visit_float(value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T rate = T(now(step.learning_rate)), decay = T(step.weight_decay);
    const T momentum = T(step.momentum), scale = T(now(step.gradient_scale));
    const T own_share = step.is_nesterov ? T(1) : T(0),
            past_share = step.is_nesterov ? momentum : T(1);
    const T* g = gradient.data<T>();
    T* x = value.data<T>();
    T* v = step.momentum != 0 ? velocity.data<T>() : nullptr;
    parallel_ranges(value.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      if (!v) {
#pragma omp simd
        for (std::int64_t i = first; i < last; ++i) x[i] -= rate * (scale * g[i] + decay * x[i]);
        return;
      }
#pragma omp simd
      for (std::int64_t i = first; i < last; ++i) {
        const T slope = scale * g[i] + decay * x[i];
        v[i] = momentum * v[i] + slope;
        x[i] -= rate * (own_share * slope + past_share * v[i]);
      }
    });
  });
  write_copies(value, copies);
}

void adam_step(Cpu, const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
               Tensor& square, StepCopies& copies) {
  if (!std::isfinite(now(step.gradient_scale))) return;
  visit_float(value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const double count = now(step.step), learning_rate = now(step.learning_rate);
    const T rate = T(learning_rate / (1 - std::pow(step.beta1, count)));
    const T widen = T(1 / std::sqrt(1 - std::pow(step.beta2, count)));
    const T shrink = T(step.is_decoupled ? 1 - learning_rate * step.weight_decay : 1);
    const T decay = T(step.is_decoupled ? 0 : step.weight_decay);
    const T keep1 = T(step.beta1), add1 = T(1 - step.beta1);
    const T keep2 = T(step.beta2), add2 = T(1 - step.beta2);
    const T epsilon = T(step.epsilon), scale = T(now(step.gradient_scale));
    const T* g = gradient.data<T>();
    T* x = value.data<T>();
    T* m = mean.data<T>();
    T* s = square.data<T>();
    parallel_ranges(value.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
#pragma omp simd
      for (std::int64_t i = first; i < last; ++i) {
        const T slope = scale * g[i] + decay * x[i];
        m[i] = keep1 * m[i] + add1 * slope;
        s[i] = keep2 * s[i] + add2 * slope * slope;
        x[i] = shrink * x[i] - rate * m[i] / (std::sqrt(s[i]) * widen + epsilon);
      }
    });
  });
  write_copies(value, copies);
}

void rmsprop_step(Cpu, const RmspropStep& step, const Tensor& gradient, Tensor& value,
                  Tensor& velocity, Tensor& square, StepCopies& copies) {
  if (!std::isfinite(now(step.gradient_scale))) return;
  visit_float(value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T rate = T(now(step.learning_rate)), decay = T(step.weight_decay);
    const T keep = T(step.alpha), add = T(1 - step.alpha), momentum = T(step.momentum);
    const T epsilon = T(step.epsilon), scale = T(now(step.gradient_scale));
    const T* g = gradient.data<T>();
    T* x = value.data<T>();
    T* s = square.data<T>();
    T* v = step.momentum != 0 ? velocity.data<T>() : nullptr;
    const auto direction = [=](T gradient, T value, T& square) {
      const T slope = scale * gradient + decay * value;
      square = keep * square + add * slope * slope;
      return slope / (std::sqrt(square) + epsilon);
    };
    parallel_ranges(value.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      if (!v) {
#pragma omp simd
        for (std::int64_t i = first; i < last; ++i) x[i] -= rate * direction(g[i], x[i], s[i]);
        return;
      }
#pragma omp simd
      for (std::int64_t i = first; i < last; ++i) {
        v[i] = momentum * v[i] + direction(g[i], x[i], s[i]);
        x[i] -= rate * v[i];
      }
    });
  });
  write_copies(value, copies);
}

void sum_of_squares(Cpu, const Tensor& x, Tensor& sum) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.data<T>();
    const std::int64_t pieces = (x.numel() + kGrain - 1) / kGrain;
    std::vector<double> partial(static_cast<std::size_t>(pieces));
    parallel_for(pieces, 1, [&](std::int64_t piece) {
      const std::int64_t last = std::min(x.numel(), (piece + 1) * kGrain);
      // Many sums side by side: one alone would wait for each addition to finish.
      double lanes[kLanes] = {};
      std::int64_t i = piece * kGrain;
      for (; i + kLanes <= last; i += kLanes)
        for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += squared(in[i + lane]);
      for (int lane = 0; i < last; ++i, ++lane) lanes[lane] += squared(in[i]);
      double squares = 0;
      for (const double sum : lanes) squares += sum;
      partial[static_cast<std::size_t>(piece)] = squares;
    });
    double total = 0;
    for (const double squares : partial) total += squares;
    sum.data<double>()[0] = total;
  });
}

void move_towards(Cpu, const Tensor& target, const LiveNumber& share, Tensor& x) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T part = T(now(share));
    const T* to = target.data<T>();
    T* from = x.data<T>();
    parallel_ranges(x.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
#pragma omp simd
      for (std::int64_t i = first; i < last; ++i) from[i] += part * (to[i] - from[i]);
    });
  });
}

void decide_step(Cpu, double clip_norm, const LossScaling& scaling, StepState& state) {
  decide(clip_norm, scaling,
         {.loss = state.loss.data<double>(),
          .squares = state.squares.data<double>(),
          .clipped = (state.clipped.is_defined() ? state.clipped : state.squares).data<double>(),
          .moves = state.moves.data<double>(),
          .counts = state.counts.data<double>(),
          .loss_scale = state.loss_scale.data<double>(),
          .norm = state.norm.data<double>(),
          .scale = state.scale.data<double>(),
          .groups = state.squares.numel()});
}

}  // namespace proxent::kernel
