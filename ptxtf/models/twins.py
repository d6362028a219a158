"""A model's twin: the same variables in fewer operations, to train and to predict by.

Flows in: a functional keras.Model. Flows out: another one that gives the same numbers, to rounding, and gives them
sooner on a CPU. It has no variables of its own, so that what one learns the other knows. The model given is the one to
save: its layers are Keras' own.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from ptxtf.models.convolution import (
    convolve,
    convolve_by_case,
    convolve_pixels,
    has_quicker_gradients,
    sum_by_case,
    sums_by_channel,
)
from ptxtf.models.layers import (
    FusedBatchNormalization,
    GroupedConv2D,
    can_be_in_blocks,
    can_fuse,
    convolve_groups,
    normalize,
)
from ptxtf.models.rebuild import is_functional

# These and none derived from them, which may compute anything.
_CONVOLUTIONS = (layers.Conv2D, GroupedConv2D)
_NORMALIZATIONS = (layers.BatchNormalization, FusedBatchNormalization)


def twin(model: keras.Model, *, training: bool, fixed: bool = False) -> keras.Model:
    """Build a model that computes what another computes, from the same variables and in fewer operations.

    - A convolution of 3 x 3 over a map that was enlarged twofold to the nearest, and joined to others, reads each by
      itself. In float32 it reads the coarse map, see `ptxtf.models.convolution`, and the fine one is never made; in
      half precision products are too cheap for that.
    - In training, kernels' gradients are found by operations that are quicker on the processor at hand.
    - In prediction, batch normalization is folded into the convolution before it.
    - A convolution of 3 x 3 to one channel is a sum of convolutions of one channel each.
    - Keras' own layers, as a loaded model has them, are computed as `ptxtf.models.layers` does it.

    Args:
        model: computes what it did; one that is not functional is given back. Its layers belong to the twin, too.
        training: whether the twin is to train, which one for prediction refuses to; that for training predicts too.
        fixed: whether the model will learn no more. What can be made of its weights alone is then made only once.

    Example:
        >>> predict = twin(model, training=False, fixed=True)
        >>> logits = predict(images, training=False)
    """
    if training and fixed:
        raise ValueError("expected a model that is to train, or that is fixed. Received: training=True, fixed=True")
    if not is_functional(model):
        return model
    plain = keras.Model(model.input, model.output, name=model.name)  # without what it was compiled with
    made = keras.models.clone_model(
        plain, clone_function=lambda layer: layer, call_function=_Rewriting(training, fixed)
    )
    made.dtype_policy = model.dtype_policy
    made.output_names = model.output_names  # of layers that may have other ones in their place
    return made


@dataclasses.dataclass(frozen=True)
class _Part:
    """A map that a convolution reads, alone or joined to others."""

    features: keras.KerasTensor
    enlarged: bool = False
    """Whether the convolution reads it enlarged twofold."""


class _Rewriting:
    """Called with each layer of a model and what it reads: gives what the layer makes of it, or what a faster one does.

    A layer that a faster one takes the place of is called all the same; what nobody reads is no part of the new model.
    """

    def __init__(self, training: bool, fixed: bool) -> None:
        self._training = training
        self._fixed = fixed
        self._parts: dict[keras.KerasTensor, list[_Part]] = {}  # of maps that a convolution need not read as one
        self._convolved: dict[keras.KerasTensor, tuple[layers.Conv2D, list[_Part]]] = {}
        self._twins: dict[int, keras.Model] = {}  # of models within the model, by id
        self._names: collections.Counter[str] = collections.Counter()

    def __call__(self, layer: keras.Layer, *arguments: Any, **options: Any) -> Any:
        if is_functional(layer):
            if id(layer) not in self._twins:
                self._twins[id(layer)] = twin(layer, training=self._training, fixed=self._fixed)
            return self._twins[id(layer)](*arguments, **options)
        outputs = layer(*arguments, **options)
        if not arguments or getattr(layer, "activity_regularizer", None) is not None:
            return outputs
        inputs: Any = arguments[0]
        if _enlarges(layer):
            self._parts[outputs] = [_Part(outputs) if _is_half(layer) else _Part(inputs, enlarged=True)]
        elif _joins(layer) and any(one in self._parts for one in inputs):
            self._parts[outputs] = [part for one in inputs for part in self._parts.get(one, [_Part(one)])]
        elif _convolves(layer):
            outputs = self._see_convolution(layer, inputs, outputs)
        elif _normalizes(layer):
            outputs = self._see_normalization(layer, inputs, outputs, options)
        return outputs

    def _see_convolution(
        self, layer: layers.Conv2D, inputs: keras.KerasTensor, outputs: keras.KerasTensor
    ) -> keras.KerasTensor:
        parts = self._parts.get(inputs) if _has_border(layer) else None
        if parts or self._pays(layer):
            parts = parts or [_Part(inputs)]
            outputs = self._convolve(layer, parts)
        self._convolved[outputs] = (layer, parts or [_Part(inputs)])
        return outputs

    def _pays(self, layer: layers.Conv2D) -> bool:
        """Return whether a convolution of a map as it is can do with other operations than its own."""
        if _is_half(layer) and (self._fixed or (self._training and _is_of_pixels(layer))):
            return True
        if _has_border(layer) and sums_by_channel(layer.filters, layer.compute_dtype):
            return True
        if self._training and _has_border(layer):
            return has_quicker_gradients(layer.kernel.shape[2], layer.compute_dtype)
        return type(layer) is layers.Conv2D and layer.groups > 1 and can_be_in_blocks(layer)

    def _see_normalization(
        self,
        layer: layers.BatchNormalization,
        inputs: keras.KerasTensor,
        outputs: keras.KerasTensor,
        options: dict[str, Any],
    ) -> keras.KerasTensor:
        if inputs in self._convolved and not self._training and not options.get("training"):
            convolution, parts = self._convolved[inputs]
            is_alike = convolution.dtype_policy.name == layer.dtype_policy.name
            if is_alike and convolution.activation is keras.activations.linear:
                return self._convolve(convolution, parts, layer)
        if type(layer) is layers.BatchNormalization and can_fuse(layer, inputs) and options.get("mask") is None:
            return _Normalization(layer, name=self._name(layer))(inputs, training=options.get("training"))
        return outputs

    def _convolve(
        self, convolution: layers.Conv2D, parts: list[_Part], normalization: keras.Layer | None = None
    ) -> keras.KerasTensor:
        name = self._name(normalization or convolution)
        twin_layer = _Convolution(convolution, parts, normalization, fixed=self._fixed, name=name)
        return twin_layer([part.features for part in parts])

    def _name(self, layer: keras.Layer) -> str:
        name = f"{layer.name}_twin"
        self._names[name] += 1  # a layer may be called more than once
        return f"{name}{self._names[name]}" if self._names[name] > 1 else name


def _enlarges(layer: keras.Layer) -> bool:
    is_plain = type(layer) is layers.UpSampling2D and layer.data_format == "channels_last"
    return is_plain and layer.size == (2, 2) and layer.interpolation == "nearest"


def _joins(layer: keras.Layer) -> bool:
    return type(layer) is layers.Concatenate and layer.axis in (-1, 3)


def _convolves(layer: keras.Layer) -> bool:
    return type(layer) in _CONVOLUTIONS and layer.data_format == "channels_last"


def _has_border(layer: layers.Conv2D) -> bool:
    """Return whether a layer is a plain convolution of 3 x 3 with zeros around."""
    return _is_plain(layer) and layer.kernel_size == (3, 3) and layer.padding == "same"


def _is_of_pixels(layer: layers.Conv2D) -> bool:
    return _is_plain(layer) and layer.kernel_size == (1, 1)


def _is_plain(layer: layers.Conv2D) -> bool:
    return (layer.strides, layer.dilation_rate, layer.groups) == ((1, 1), (1, 1), 1)


def _is_half(layer: keras.Layer) -> bool:
    return layer.compute_dtype != "float32"


def _normalizes(layer: keras.Layer) -> bool:
    return type(layer) in _NORMALIZATIONS and layer.axis in (-1, 3)


class _Normalization(keras.Layer):
    """What a batch normalization gives, by one operation.

    Args:
        normalization: the layer that has the weights.
        name: of this one.
    """

    def __init__(self, normalization: layers.BatchNormalization, *, name: str) -> None:
        super().__init__(name=name, dtype=normalization.dtype_policy)
        self.normalization = normalization

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalize float [B, H, W, C]."""
        return normalize(self.normalization, inputs, training=training)

    def compute_output_spec(self, inputs: keras.KerasTensor, **_: Any) -> keras.KerasTensor:
        """Return the outputs' shape and dtype, without a call to find them out."""
        return keras.KerasTensor(inputs.shape, self.compute_dtype)


class _Convolution(keras.Layer):
    """What a convolution gives of maps joined along their channels, and a batch normalization of that in prediction.

    Args:
        convolution: the layer that has the kernel and bias.
        parts: of its input, as they will come when it is called.
        normalization: that follows it, if any.
        fixed: take the weights as they are now.
        name: of the layer.
    """

    def __init__(
        self,
        convolution: layers.Conv2D,
        parts: Sequence[_Part],
        normalization: keras.Layer | None,
        *,
        fixed: bool,
        name: str,
    ) -> None:
        # float32 is what variables come in, whose sums and products would lose digits in less.
        super().__init__(name=name, dtype="float32", autocast=False)
        self.convolution = convolution
        self.normalization = normalization
        self._enlarged = [part.enlarged for part in parts]
        self._channels = [part.features.shape[-1] for part in parts]
        self._fixed = self._weights() if fixed else None

    def call(self, features: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Convolve float [B, H, W, C] each, or [B, H/2, W/2, C] of those to enlarge; gives float [B, H, W, filters]."""
        if training and (self.normalization or self._fixed):
            raise ValueError("expected training=False of a twin that was made for prediction. Received: training=True")
        kernels, bias = self._fixed or self._weights()
        outputs = tf.add_n(
            [
                self._convolve(tf.cast(one, kernel.dtype), kernel, enlarged, training=bool(training))
                for one, kernel, enlarged in zip(features, kernels, self._enlarged, strict=True)
            ]
        )
        if bias is not None:
            outputs = tf.nn.bias_add(outputs, bias)
        return self.convolution.activation(outputs)

    def compute_output_spec(self, features: list[keras.KerasTensor], **_: Any) -> keras.KerasTensor:
        """Return the outputs' shape and dtype, without a call to find them out."""
        batch, height, width, _ = features[0].shape
        factor = 2 if self._enlarged[0] else 1
        joined = (batch, *(size and factor * size for size in (height, width)), sum(self._channels))
        return keras.KerasTensor(self.convolution.compute_output_shape(joined), self.convolution.compute_dtype)

    def _convolve(self, features: tf.Tensor, kernel: tf.Tensor, enlarged: bool, *, training: bool) -> tf.Tensor:
        if enlarged:
            return convolve_by_case(features, kernel)
        if _has_border(self.convolution):
            return convolve(features, kernel)
        if training and _is_half(self.convolution) and _is_of_pixels(self.convolution):
            return convolve_pixels(features, kernel)
        if self.convolution.groups > 1 and can_be_in_blocks(self.convolution):
            return convolve_groups(features, kernel, self.convolution)
        return self.convolution.convolution_op(features, kernel)

    def _weights(self) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        """Return the kernel for each part of the input, and the bias, in the dtype that is computed in."""
        kernel, bias = self._folded()
        kernels = tf.split(kernel, self._channels, axis=2) if len(self._channels) > 1 else [kernel]
        dtype = self.convolution.compute_dtype
        return [
            tf.cast(sum_by_case(part) if enlarged else part, dtype)
            for part, enlarged in zip(kernels, self._enlarged, strict=True)
        ], None if bias is None else tf.cast(bias, dtype)

    def _folded(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return kernel and bias with the normalization in them."""
        kernel = tf.convert_to_tensor(self.convolution.kernel)
        bias = tf.convert_to_tensor(self.convolution.bias) if self.convolution.use_bias else None
        norm = self.normalization
        if norm is None:
            return kernel, bias
        scale = tf.math.rsqrt(tf.convert_to_tensor(norm.moving_variance) + norm.epsilon)
        if norm.scale:
            scale *= tf.convert_to_tensor(norm.gamma)
        offset = (0.0 if bias is None else bias) - tf.convert_to_tensor(norm.moving_mean)
        offset *= scale
        if norm.center:
            offset += tf.convert_to_tensor(norm.beta)
        return kernel * scale, offset
