// The contract: every op, declared once, and defined twice: for the CPU in src/cpu/, for CUDA in
// cuda/.
//
// Arguments stand in the order inputs, parameters, outputs, attributes. A pointer may be null: the
// tensor is absent (a layer without bias) or not wanted (a gradient that nobody reads). `y` and
// `dx` are overwritten; `dweight` and `dbias` are added to. An op keeps nothing between calls that
// changes a result; bad shapes throw std::invalid_argument.
#pragma once

#include <optional>
#include <vector>

#include "attributes.h"
#include "neuron.h"
#include "tensor.h"

// Declares `result name(...)` in the namespace of every backend.
#define DRML_OP(result, name, ...) \
  namespace cpu {                  \
  result name(__VA_ARGS__);        \
  }                                \
  namespace cuda {                 \
  result name(__VA_ARGS__);        \
  }

namespace drml {

// Arrays of any shape ----------------------------------------------------------------------------
// y = x, and y += x, for equal shapes and any strides: Concat, Slice, Flatten and Split are these.
DRML_OP(void, copy, const Tensor& x, const Tensor& y)
DRML_OP(void, add, const Tensor& x, const Tensor& y)
DRML_OP(void, fill, const Tensor& x, float value)
// y = alpha * x + beta * y, same layout.
DRML_OP(void, axpby, float alpha, const Tensor& x, float beta, const Tensor& y)
// y = x / divisor, same layout; zeros where the divisor is 0. It is one number, or one for each
// index of axis 0 of an x that lies row-major.
DRML_OP(void, divide, const Tensor& x, const Tensor& divisor, const Tensor& y)
DRML_OP(double, sum_squares, const Tensor& x)
DRML_OP(double, sum_abs, const Tensor& x)
DRML_OP(bool, all_finite, const Tensor& x)

// Rows by their numbers, each an index of axis 0: y[i] = x[index[i]], and dx[index[i]] += dy[i] in
// the order of the index. Rows lie without gaps and alike in both. BatchReindex, Filter and Embed.
DRML_OP(void, gather_forward, const Tensor& x, const Tensor& index, const Tensor& y)
DRML_OP(void, gather_backward, const Tensor& dy, const Tensor& index, const Tensor& dx)

// Updates of Caffe's solvers, whose formulas are in solver_update_rule.h: the gradient is dweight +
// decay * weight (or sign(weight) for L1), weight and what is remembered are written. All lie
// alike.
DRML_OP(void, sgd_update, const Tensor& weight, const Tensor& dweight, const Tensor& velocity,
        float rate, float momentum, float decay, bool l1)
DRML_OP(void, nesterov_update, const Tensor& weight, const Tensor& dweight, const Tensor& velocity,
        float rate, float momentum, float decay, bool l1)
DRML_OP(void, adagrad_update, const Tensor& weight, const Tensor& dweight, const Tensor& squares,
        float rate, float delta, float decay, bool l1)
DRML_OP(void, rmsprop_update, const Tensor& weight, const Tensor& dweight, const Tensor& squares,
        float rate, float rms_decay, float delta, float decay, bool l1)
DRML_OP(void, adadelta_update, const Tensor& weight, const Tensor& dweight, const Tensor& squares,
        const Tensor& changes, float rate, float momentum, float delta, float decay, bool l1)
// rate includes the correction sqrt(1 - momentum2^t) / (1 - momentum^t) of iteration t = 1, 2...
DRML_OP(void, adam_update, const Tensor& weight, const Tensor& dweight, const Tensor& mean,
        const Tensor& squares, float rate, float momentum, float momentum2, float delta,
        float decay, bool l1)

// Convolution: x (N, C, H, W), weight (K, C / group, kh, kw), bias (K,), y (N, K, H', W') ---------
DRML_OP(void, convolution_forward, const Tensor& x, const Tensor& weight, const Tensor* bias,
        const Tensor& y, const ConvolutionAttrs& attrs)
DRML_OP(void, convolution_backward, const Tensor& x, const Tensor& weight, const Tensor& dy,
        const Tensor* dx, const Tensor* dweight, const Tensor* dbias, const ConvolutionAttrs& attrs)

// Local connection: as convolution, but every place of y has filters of its own: weight
// (H' * W', K, C / group, kh, kw); bias (K,), or (H' * W', K) for one per place. `overwrite` writes
// dweight instead of adding to it, whatever it held. ----------------------------------------------
DRML_OP(void, local_forward, const Tensor& x, const Tensor& weight, const Tensor* bias,
        const Tensor& y, const LocalAttrs& attrs)
DRML_OP(void, local_backward, const Tensor& x, const Tensor& weight, const Tensor& dy,
        const Tensor* dx, const Tensor* dweight, const Tensor* dbias, const LocalAttrs& attrs,
        bool overwrite)

// Inner product over the last axes: x holds M x D numbers, in the order of its axes whatever its
// layout; weight (K, D), or (D, K) when transposed; y holds M x K. `overwrite` as above. ----------
DRML_OP(void, inner_product_forward, const Tensor& x, const Tensor& weight, const Tensor* bias,
        const Tensor& y, bool transpose)
DRML_OP(void, inner_product_backward, const Tensor& x, const Tensor& weight, const Tensor& dy,
        const Tensor* dx, const Tensor* dweight, const Tensor* dbias, bool transpose,
        bool overwrite)

// Batch normalization without scale or shift: mean, variance (C,) are read when frozen, else
// computed over all axes but 1 (variance divided by the count) and written. x and y lie alike in
// memory and may be the same tensor, and so may dy and dx. ---------------------------------------
DRML_OP(void, batch_norm_forward, const Tensor& x, const Tensor& mean, const Tensor& variance,
        const Tensor& y, float eps, bool frozen)
DRML_OP(void, batch_norm_backward, const Tensor& x, const Tensor& mean, const Tensor& variance,
        const Tensor& dy, const Tensor& dx, float eps, bool frozen)

// y = x * scale + bias, where scale and bias have the axes of x from `axis` on, and all others are
// broadcast; either may be null, then it is 1 or 0. x and y lie alike in memory and may be the same
// tensor, and so may dy and dx. -------
DRML_OP(void, scale_forward, const Tensor& x, const Tensor* scale, const Tensor* bias,
        const Tensor& y, int64_t axis)
DRML_OP(void, scale_backward, const Tensor& x, const Tensor* scale, const Tensor& dy,
        const Tensor* dx, const Tensor* dscale, const Tensor* dbias, int64_t axis)

// PReLU: y = x, and below zero x * slope; slope has one number per index of axis 1, (C,), or one
// for all, (). x and y lie alike in memory and may be the same tensor, and so may dy and dx. -----
DRML_OP(void, prelu_forward, const Tensor& x, const Tensor& slope, const Tensor& y)
DRML_OP(void, prelu_backward, const Tensor& x, const Tensor& slope, const Tensor& dy,
        const Tensor* dx, const Tensor* dslope)

// Pooling: x (N, C, H, W), y (N, C, H', W'); window i of an axis starts at i * stride - pad. MAX
// skips the padding; AVE counts it as zeros, up to its far border. -------------------------------
DRML_OP(void, pooling_forward, const Tensor& x, const Tensor& y, const PoolingAttrs& attrs)
// Where in its plane the maximum of each window stands, row * W + column.
DRML_OP(void, pooling_mask, const Tensor& x, const Tensor& mask, const PoolingAttrs& attrs)
DRML_OP(void, pooling_backward, const Tensor& x, const Tensor& dy, const Tensor& dx,
        const PoolingAttrs& attrs)

// The region layer: y = x + conv(relu(batch_norm(x))) with its own statistics, weights and bias for
// every patch of a grid; zero padding at the patch's border. x, y (N, C, H, W); weight
// (P, C, C, k, k); bias (P, C); mean, variance (P, C) as for batch_norm. -------------------------
DRML_OP(void, region_forward, const Tensor& x, const Tensor& weight, const Tensor& bias,
        const Tensor& mean, const Tensor& variance, const Tensor& y, const RegionAttrs& attrs)
DRML_OP(void, region_backward, const Tensor& x, const Tensor& weight, const Tensor& mean,
        const Tensor& variance, const Tensor& dy, const Tensor* dx, const Tensor* dweight,
        const Tensor* dbias, const RegionAttrs& attrs)

// Element after element: x and y lie alike in memory and may be the same tensor. -----------------
DRML_OP(void, relu_forward, const Tensor& x, const Tensor& y, float negative_slope)
DRML_OP(void, relu_backward, const Tensor& x, const Tensor& dy, const Tensor& dx,
        float negative_slope)
DRML_OP(void, sigmoid_forward, const Tensor& x, const Tensor& y)
DRML_OP(void, sigmoid_backward, const Tensor& y, const Tensor& dy, const Tensor& dx)
// The function that attrs names; backward reads of x and y what the function's slope needs.
DRML_OP(void, neuron_forward, const Tensor& x, const Tensor& y, const NeuronAttrs& attrs)
DRML_OP(void, neuron_backward, const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& dx,
        const NeuronAttrs& attrs)
// y = x / (1 - ratio), or 0 with probability `ratio` as drawn by (key, position, place of the
// element in the order of the axes). The same call on dy gives dx.
DRML_OP(void, dropout, const Tensor& x, const Tensor& y, float ratio, uint64_t key,
        uint64_t position)

// Several arrays that lie alike in memory; gradients are those of input number `index`. ----------
// y = sum of coeff[i] * x[i].
DRML_OP(void, eltwise_sum, const std::vector<Tensor>& x, const std::vector<float>& coeff,
        const Tensor& y)
// With y given, dx is y / x * dy (Caffe's stable_prod_grad: false), else a product of the others.
DRML_OP(void, eltwise_product_forward, const std::vector<Tensor>& x, const Tensor& y)
DRML_OP(void, eltwise_product_backward, const std::vector<Tensor>& x, const Tensor* y,
        const Tensor& dy, int64_t index, const Tensor& dx)
DRML_OP(void, eltwise_max_forward, const std::vector<Tensor>& x, const Tensor& y)
DRML_OP(void, eltwise_max_backward, const std::vector<Tensor>& x, const Tensor& dy, int64_t index,
        const Tensor& dx)

// Softmax along an axis of any layout, losses and accuracy. A label belongs to the prediction of
// the same number in the order of the axes. y and dy of a loss are one number; dy scales dx. ------
DRML_OP(void, softmax_forward, const Tensor& x, const Tensor& y, int64_t axis)
DRML_OP(void, softmax_backward, const Tensor& y, const Tensor& dy, const Tensor& dx, int64_t axis)
// prob is what softmax_forward computed of x; dx is the gradient of x.
DRML_OP(void, softmax_loss_forward, const Tensor& prob, const Tensor& label, const Tensor& y,
        int64_t axis, const LossAttrs& attrs)
DRML_OP(void, softmax_loss_backward, const Tensor& prob, const Tensor& label, const Tensor& dy,
        const Tensor& dx, int64_t axis, const LossAttrs& attrs)
DRML_OP(void, sigmoid_cross_entropy_loss_forward, const Tensor& x, const Tensor& label,
        const Tensor& y, const LossAttrs& attrs)
DRML_OP(void, sigmoid_cross_entropy_loss_backward, const Tensor& x, const Tensor& label,
        const Tensor& dy, const Tensor& dx, const LossAttrs& attrs)
// Labels 1, -1 and 0 for unknown; divided by x.dim(0). weight (2, C) for the C indices of axis 1,
// or null: what positive labels of each count, and what negative ones do.
DRML_OP(void, multi_sigmoid_cross_entropy_loss_forward, const Tensor& x, const Tensor& label,
        const Tensor* weight, const Tensor& y)
DRML_OP(void, multi_sigmoid_cross_entropy_loss_backward, const Tensor& x, const Tensor& label,
        const Tensor* weight, const Tensor& dy, const Tensor& dx)
// As softmax_loss with the logarithm of every probability of a line, weighted by the numbers in the
// row of `infogain` (K, K) that is the label's; row_sums (K) are the sums of its rows.
DRML_OP(void, infogain_loss_forward, const Tensor& prob, const Tensor& label,
        const Tensor& infogain, const Tensor& y, int64_t axis, const LossAttrs& attrs)
DRML_OP(void, infogain_loss_backward, const Tensor& prob, const Tensor& label,
        const Tensor& infogain, const Tensor& row_sums, const Tensor& dy, const Tensor& dx,
        int64_t axis, const LossAttrs& attrs)
// The losses from here on are divided by the samples, axis 0. x (N, D), a class number for each of
// N: the sum of how far each score is on the wrong side of 1 (own class) or -1 (others), or of the
// squares of that (l2).
DRML_OP(void, hinge_loss_forward, const Tensor& x, const Tensor& label, const Tensor& y, bool l2)
DRML_OP(void, hinge_loss_backward, const Tensor& x, const Tensor& label, const Tensor& dy,
        const Tensor& dx, bool l2)
// prob (N, D), a class number for each of N.
DRML_OP(void, multinomial_logistic_loss_forward, const Tensor& prob, const Tensor& label,
        const Tensor& y)
DRML_OP(void, multinomial_logistic_loss_backward, const Tensor& prob, const Tensor& label,
        const Tensor& dy, const Tensor& dx)
// Half the sum of (x - label)^2; both have a gradient.
DRML_OP(void, euclidean_loss_forward, const Tensor& x, const Tensor& label, const Tensor& y)
DRML_OP(void, euclidean_loss_backward, const Tensor& x, const Tensor& label, const Tensor& dy,
        const Tensor* dx, const Tensor* dlabel)
// Half the sum over pairs of samples of a and b, each with a label: their squared distance, which
// forward writes to `distance` (N), where the label is not 0, else max(margin - distance, 0)^2, or
// max(margin - squared distance, 0) for `legacy`.
DRML_OP(void, contrastive_loss_forward, const Tensor& a, const Tensor& b, const Tensor& label,
        const Tensor& distance, const Tensor& y, float margin, bool legacy)
DRML_OP(void, contrastive_loss_backward, const Tensor& a, const Tensor& b, const Tensor& label,
        const Tensor& distance, const Tensor& dy, const Tensor* da, const Tensor* db, float margin,
        bool legacy)
// y: fraction of lines along `axis` whose label is among the top_k scores; per_class: the same for
// the samples of each class.
DRML_OP(void, accuracy_forward, const Tensor& x, const Tensor& label, const Tensor& y,
        const Tensor* per_class, int64_t top_k, int64_t axis, std::optional<int64_t> ignore_label)

// Local response normalization: y = x * (k + alpha / count * sum of x^2 over a window)^-beta, for
// x (N, C, H, W); a window is `size` channels, or size x size pixels, which are `count` numbers. --
DRML_OP(void, lrn_forward, const Tensor& x, const Tensor& y, const LrnAttrs& attrs)
DRML_OP(void, lrn_backward, const Tensor& x, const Tensor& dy, const Tensor& dx,
        const LrnAttrs& attrs)

// Rows: the axes of x before `axis` number them, the others are a row's numbers. ----------------
// y = coeff * the sum of x, |x| or x^2 of each row.
DRML_OP(void, reduction_forward, const Tensor& x, const Tensor& y, int64_t axis,
        Reduction operation, float coeff)
DRML_OP(void, reduction_backward, const Tensor& x, const Tensor& dy, const Tensor& dx, int64_t axis,
        Reduction operation, float coeff)
// y = x - mean of its row, divided by `deviation` (one number per row: the row's standard deviation
// + eps, which forward writes) unless it is null. x and y may be the same tensor, and so may dy and
// dx. As Caffe's, the gradient takes eps for 0 where it is added to the deviation.
DRML_OP(void, mvn_forward, const Tensor& x, const Tensor& y, const Tensor* deviation, int64_t axis,
        float eps)
DRML_OP(void, mvn_backward, const Tensor& y, const Tensor& dy, const Tensor& dx,
        const Tensor* deviation, int64_t axis)

}  // namespace drml
