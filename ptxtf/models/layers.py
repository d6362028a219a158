"""Two of Keras' layers, computed faster: batch normalization by one operation, and convolution in groups.

Flows in: features, float [B, H, W, C]. Flows out: what Keras' layer would give. A saved model holds Keras' layer in the
place of these, and loads without ptxtf.
"""

import keras
import tensorflow as tf

from ptxtf import devices

BATCH_MOMENTUM = 0.9
"""Of moving averages in layers that start untrained. Keras' 0.99 needs some 500 steps to forget its start: on a small
data set those are many epochs in which validation says nothing."""


_FUSED_DTYPES = ("float16", "bfloat16", "float32")


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
        if mask is not None or not can_fuse(self, inputs):
            return super().call(inputs, training=training, mask=mask)
        return normalize(self, inputs, training=training)


def can_fuse(layer: keras.layers.BatchNormalization, inputs: tf.Tensor | keras.KerasTensor) -> bool:
    """Return whether `normalize` does for a layer and its inputs."""
    return (
        not (getattr(layer, "renorm", False) or layer.synchronized)  # Keras before 3.13 has no renorm
        and layer.variable_dtype == "float32"
        and len(inputs.shape) == 4
        and layer.axis in (-1, 3)
        and keras.backend.standardize_dtype(inputs.dtype) in _FUSED_DTYPES
    )


def normalize(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, *, training: bool | None = None) -> tf.Tensor:
    """Normalize inputs, float [B, H, W, C], as a layer would: by the batch's statistics in training, else its averages.

    A frozen layer keeps to its averages in training, too. The layer's averages move as by its own call. Where replicas
    share a batch, its statistics are those of all of it.
    """
    by_batch = bool(training) and layer.trainable
    if by_batch and (replica := tf.distribute.get_replica_context()) and replica.num_replicas_in_sync > 1:
        return _normalize_shared(layer, inputs, replica)
    mean, variance = tf.convert_to_tensor(layer.moving_mean), tf.convert_to_tensor(layer.moving_variance)
    unused = tf.zeros([0])  # the operation takes no statistics where it finds them
    outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones_like(mean),
        offset=tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros_like(mean),
        mean=unused if by_batch else mean,
        variance=unused if by_batch else variance,
        epsilon=layer.epsilon,
        is_training=by_batch,
    )
    if by_batch:
        _move(layer.moving_mean, batch_mean, layer.momentum)
        _move(layer.moving_variance, batch_variance * _bias(inputs), layer.momentum)
    return tf.cast(outputs, layer.compute_dtype)


def _normalize_shared(
    layer: keras.layers.BatchNormalization, inputs: tf.Tensor, replica: tf.distribute.ReplicaContext
) -> tf.Tensor:
    """Normalize a replica's share of a batch by the statistics of the whole batch; all shares are of one size."""

    def mean_of(values: tf.Tensor) -> tf.Tensor:
        return replica.all_reduce("SUM", tf.reduce_mean(values, axis=[0, 1, 2])) / replica.num_replicas_in_sync

    exact = tf.cast(inputs, tf.float32)
    mean = mean_of(exact)
    variance = mean_of(tf.square(exact - mean))
    gamma = tf.convert_to_tensor(layer.gamma) if layer.scale else None
    beta = tf.convert_to_tensor(layer.beta) if layer.center else None
    _move(layer.moving_mean, mean, layer.momentum)
    _move(layer.moving_variance, variance, layer.momentum)
    outputs = tf.nn.batch_normalization(exact, mean, variance, beta, gamma, layer.epsilon)
    return tf.cast(outputs, layer.compute_dtype)


def _move(average: keras.Variable, statistic: tf.Tensor, momentum: float) -> None:
    variable = average.value
    variable.assign_sub((variable - statistic) * (1.0 - momentum))


def _bias(inputs: tf.Tensor) -> tf.Tensor | float:
    """Return what turns the fused operation's variance, divided by count - 1, into Keras' one, divided by count."""
    if inputs.shape.is_fully_defined():
        count = inputs.shape.num_elements() // inputs.shape[-1]
        return (count - 1) / count
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    return (count - 1) / count


_BLOCK_CHANNELS = 32
"""Of inputs that a convolution in blocks takes at once: fewer make more operations, more make more products with 0."""


class GroupedConv2D(keras.layers.Conv2D):
    """Convolution in groups, fast on a CPU too; weights, config and numbers are those of Keras' layer.

    TensorFlow's own operation has no gradient on a CPU, so Keras compiles it by XLA, whose gradient is slow there (of 4
    maps of 16 x 16 x 512: 7.8 s, here 0.1). Here groups are joined to blocks of some 32 channels, each a plain
    convolution with a kernel that is zero from group to group; groups of one channel are a depthwise convolution.

    Example:
        >>> GroupedConv2D(128, 3, groups=32)(tf.random.normal([4, 8, 8, 128])).shape
        TensorShape([4, 6, 6, 128])
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve inputs, float [B, H, W, C], with a kernel, float [h, w, C/groups, filters]."""
        if not can_be_in_blocks(self):
            return super().convolution_op(inputs, kernel)
        return convolve_groups(inputs, tf.convert_to_tensor(kernel), self)


def can_be_in_blocks(layer: keras.layers.Conv2D) -> bool:
    """Return whether `convolve_groups` does for a layer; only oneDNN has gradients of convolutions with holes."""
    return layer.data_format == "channels_last" and (layer.dilation_rate == (1, 1) or devices.has_onednn())


def convolve_groups(inputs: tf.Tensor, kernel: tf.Tensor, layer: keras.layers.Conv2D) -> tf.Tensor:
    """Convolve inputs, float [B, H, W, C], with a kernel, float [h, w, C/groups, filters], as a layer says."""
    height, width, channels, filters = kernel.shape
    if channels == 1 and set(layer.strides) == {1}:
        kernel = tf.reshape(kernel, [height, width, layer.groups, filters // layer.groups])
        return tf.nn.depthwise_conv2d(
            inputs, kernel, [1, 1, 1, 1], layer.padding.upper(), dilations=layer.dilation_rate
        )
    blocks = _count_blocks(layer.groups, channels)
    pieces = [
        tf.nn.conv2d(block, block_kernel, layer.strides, layer.padding.upper(), dilations=layer.dilation_rate)
        for block, block_kernel in zip(
            tf.split(inputs, blocks, axis=-1),
            tf.split(_block_diagonal(kernel, layer.groups, blocks), blocks, axis=-1),
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


# What a saved model calls them. Keras looks these names up among its own layers when it loads one.
for _layer in (FusedBatchNormalization, GroupedConv2D):
    _layer.__name__ = _layer.__base__.__name__
    _layer.__module__ = "keras.layers"


def faster_class(layer: keras.Layer) -> type[keras.Layer]:
    """Return the class that computes what a layer computes, sooner if there is one."""
    if type(layer) is keras.layers.BatchNormalization:
        return FusedBatchNormalization
    if type(layer) is keras.layers.Conv2D and layer.groups > 1:
        return GroupedConv2D
    return type(layer)
