"""The small Keras layers that the segmentation models need and Keras lacks.

Flows in: images, float [B, H, W, 1 or 3] in 0..1, of any size. Flows out: what an encoder expects, padded to a size it
can halve five times, and on the way back the logits cropped to the image. All of them are registered with Keras, so
that a saved model loads wherever `ptxtf.models` was imported, and all compile under XLA.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import tensorflow as tf

BATCH_MOMENTUM = 0.9
"""Of moving averages in layers that start untrained. Keras' 0.99 needs some 500 steps to forget its start: on a small
data set those are many epochs in which validation says nothing."""


class Scaling(NamedTuple):
    """What a family of ImageNet weights expects: `factor * image + offset` per RGB channel, then perhaps BGR order."""

    factor: tuple[float, ...]
    offset: tuple[float, ...]
    reverse_channels: bool = False


_IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, of images in 0..1
_IMAGENET_STD = (0.229, 0.224, 0.225)

SCALINGS: Mapping[str, Scaling] = MappingProxyType(
    {
        # As it comes, 0..1: how the study fed all of its encoders.
        "paper": Scaling((1.0,), (0.0,)),
        "raw": Scaling((255.0,), (0.0,)),
        "tf": Scaling((2.0,), (-1.0,)),
        "torch": Scaling(
            tuple(1 / std for std in _IMAGENET_STD),
            tuple(-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)),
        ),
        # Caffe's models were trained on BGR images in 0..255 less the mean; these are the means in RGB order.
        "caffe": Scaling((255.0,), (-123.68, -116.779, -103.939), reverse_channels=True),
    }
)


@keras.saving.register_keras_serializable(package="ptxtf")
class InputScaling(keras.layers.Layer):
    """Scale images in 0..1 to what an encoder was trained on; one grey channel becomes three equal ones first.

    Args:
        scaling: a key of `SCALINGS`: "paper" (0..1), "raw" (0..255), "tf" (-1..1), "torch" (mean 0, deviation 1 over
            ImageNet) or "caffe" (BGR, 0..255 less ImageNet's mean).
        channels: 1 or 3, how many channels come out.

    Raises:
        ValueError: scaling is unknown or needs three channels and is to give one.

    Example:
        >>> InputScaling("tf")(tf.ones([1, 32, 32, 1])).shape
        TensorShape([1, 32, 32, 3])
    """

    def __init__(self, scaling: str, *, channels: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scaling not in SCALINGS:
            raise ValueError(f"expected scaling of {', '.join(SCALINGS)}. Received: scaling={scaling!r}")
        if channels != 3 and len(SCALINGS[scaling].offset) == 3:
            raise ValueError(f"expected three channels for scaling {scaling!r}. Received: channels={channels}")
        self.scaling = scaling
        self.channels = channels

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Scale images, float [B, H, W, 1 or channels] in 0..1; gives float [B, H, W, channels]."""
        factor, offset, reverse_channels = SCALINGS[self.scaling]
        if images.shape[-1] == 1 and self.channels == 3:
            images = tf.tile(images, [1, 1, 1, 3])
        scaled = images * tf.constant(factor, images.dtype) + tf.constant(offset, images.dtype)
        return tf.reverse(scaled, axis=[-1]) if reverse_channels else scaled

    def compute_output_shape(self, images_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Give the shape with the channels that come out."""
        return (*images_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        """Give what `from_config` needs to make this layer again."""
        return {**super().get_config(), "scaling": self.scaling, "channels": self.channels}


@keras.saving.register_keras_serializable(package="ptxtf")
class PadToMultiple(keras.layers.Layer):
    """Pad images with zeros at the bottom and right until both sides are multiples of `multiple`.

    Images whose static size already is one pass through untouched.

    Args:
        multiple: in pixels.

    Example:
        >>> PadToMultiple(32)(tf.ones([1, 70, 64, 1])).shape
        TensorShape([1, 96, 64, 1])
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Pad images, float [B, H, W, C]."""
        height, width = _height_and_width(images)
        bottom, right = -height % self.multiple, -width % self.multiple
        if isinstance(bottom, int) and isinstance(right, int) and bottom == right == 0:
            return images
        return tf.pad(images, [[0, 0], [0, bottom], [0, right], [0, 0]])

    def compute_output_shape(self, images_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Round height and width up, where they are known."""
        batch, height, width, channels = images_shape
        return (batch, self._padded(height), self._padded(width), channels)

    def _padded(self, length: int | None) -> int | None:
        return None if length is None else length + -length % self.multiple

    def get_config(self) -> dict[str, Any]:
        """Give what `from_config` needs to make this layer again."""
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="ptxtf")
class CropToMatch(keras.layers.Layer):
    """Cut maps at the bottom and right to the height and width of images: the way back from `PadToMultiple`.

    Called as `layer(maps, images)` with maps [B, H', W', C] and images [B, H, W, any], H <= H' and W <= W'.

    Example:
        >>> CropToMatch()(tf.ones([1, 96, 64, 1]), tf.ones([1, 70, 64, 1])).shape
        TensorShape([1, 70, 64, 1])
    """

    def call(self, maps: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """Crop maps, [B, H', W', C], to the size of images, [B, H, W, any]."""
        height, width = _height_and_width(images)
        return maps[:, :height, :width, :]

    def compute_output_shape(
        self, maps_shape: tuple[int | None, ...], images_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Take height and width of the images, the rest of the maps."""
        return (maps_shape[0], images_shape[1], images_shape[2], maps_shape[3])


def _height_and_width(images: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Give each side as a number where it is known when tracing, and else as a scalar tensor."""
    dynamic = tf.shape(images)
    return tuple(dynamic[axis] if images.shape[axis] is None else images.shape[axis] for axis in (1, 2))


_FUSED_DTYPES = ("float16", "bfloat16", "float32")


@keras.saving.register_keras_serializable(package="ptxtf")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by TensorFlow's one fused operation; weights, config and numbers are those of Keras' layer.

    Keras 3 composes its layer of separate reductions and products. The fused operation, measured on a CPU, halves the
    training step of a whole U-Net. Statistics are float32 whatever the inputs are. What the operation cannot do
    (masks, renorm, synchronized statistics, other axes, ranks and dtypes) is left to Keras' layer.

    Example:
        >>> FusedBatchNormalization()(tf.random.normal([4, 8, 8, 3]), training=True).shape
        TensorShape([4, 8, 8, 3])
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Normalize inputs, float [B, H, W, C], by the batch's statistics in training and by the averages else."""
        if mask is not None or not self._can_fuse(inputs):
            return super().call(inputs, training=training, mask=mask)
        # A frozen layer runs in inference mode, as Keras' does.
        outputs = self._normalize_by_batch(inputs) if training and self.trainable else self._normalize(inputs)
        return tf.cast(outputs, self.compute_dtype)

    def _can_fuse(self, inputs: tf.Tensor) -> bool:
        return (
            not (getattr(self, "renorm", False) or self.synchronized)  # Keras before 3.13 has no renorm
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and keras.backend.standardize_dtype(inputs.dtype) in _FUSED_DTYPES
        )

    def _scale_and_offset(self) -> tuple[tf.Tensor, tf.Tensor]:
        mean = tf.convert_to_tensor(self.moving_mean)
        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(mean)
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros_like(mean)
        return scale, offset

    def _normalize(self, inputs: tf.Tensor) -> tf.Tensor:
        scale, offset = self._scale_and_offset()
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=scale,
            offset=offset,
            mean=tf.convert_to_tensor(self.moving_mean),
            variance=tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=False,
        ).y

    def _normalize_by_batch(self, inputs: tf.Tensor) -> tf.Tensor:
        scale, offset = self._scale_and_offset()
        unused = tf.zeros([0])  # in training the operation takes no statistics
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=scale,
            offset=offset,
            mean=unused,
            variance=unused,
            epsilon=self.epsilon,
            is_training=True,
        )
        self._update(self.moving_mean, mean)
        self._update(self.moving_variance, _biased(variance, tf.reduce_prod(tf.shape(inputs)[:3])))
        return outputs

    def _update(self, average: keras.Variable, statistic: tf.Tensor) -> None:
        average.assign(average * self.momentum + statistic * (1.0 - self.momentum))


def _biased(variance: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Turn the fused operation's variance, divided by count - 1, into Keras' one, divided by count (0 for count 1)."""
    ratio = tf.cast(count - 1, variance.dtype) / tf.cast(count, variance.dtype)
    return tf.where(count > 1, variance * ratio, tf.zeros_like(variance))


_BLOCK_CHANNELS = 32
"""Of inputs that a convolution in blocks takes at once: fewer make more operations, more make more products with 0."""


@keras.saving.register_keras_serializable(package="ptxtf")
class GroupedConv2D(keras.layers.Conv2D):
    """Convolution in groups, fast on a CPU too; weights, config and numbers are those of Keras' layer.

    TensorFlow's own operation has no gradient on a CPU, so Keras compiles it by XLA, whose gradient is slow there (of 4
    maps of 16 x 16 x 512: 7.8 s, here 0.1). Here groups are joined to blocks of some 32 channels, each a plain
    convolution with a kernel that is zero from group to group.

    Example:
        >>> GroupedConv2D(128, 3, groups=32)(tf.random.normal([4, 8, 8, 128])).shape
        TensorShape([4, 6, 6, 128])
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve inputs, float [B, H, W, C], with a kernel, float [h, w, C/groups, filters]."""
        if self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
        kernel = tf.convert_to_tensor(kernel)
        blocks = _count_blocks(self.groups, kernel.shape[2])
        pieces = [
            tf.nn.conv2d(block, block_kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)
            for block, block_kernel in zip(
                tf.split(inputs, blocks, axis=-1),
                tf.split(_block_diagonal(kernel, self.groups, blocks), blocks, axis=-1),
                strict=True,
            )
        ]
        return tf.concat(pieces, axis=-1)


def _count_blocks(groups: int, channels: int) -> int:
    """Find into how many blocks groups of so many channels are joined: a divisor of their number."""
    joined = max(n for n in range(1, groups + 1) if groups % n == 0 and (n == 1 or n * channels <= _BLOCK_CHANNELS))
    return groups // joined


def _block_diagonal(kernel: tf.Tensor, groups: int, blocks: int) -> tf.Tensor:
    """Widen a kernel, [h, w, c, filters], to [h, w, c * groups / blocks, filters]: zero outside a filter's group."""
    height, width, channels, filters = kernel.shape
    joined = groups // blocks
    own = tf.eye(joined, dtype=kernel.dtype)[:, tf.newaxis, tf.newaxis, :, tf.newaxis]  # [in, 1, 1, out, 1]
    by_group = tf.reshape(kernel, [height, width, 1, channels, blocks, joined, filters // groups])
    return tf.reshape(by_group * own, [height, width, joined * channels, filters])
