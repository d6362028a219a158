"""Batch normalization by one operation.

Flows in: features, float [B, H, W, C]. Flows out: the same, normalized.
"""

import keras
import tensorflow as tf

BATCH_MOMENTUM = 0.9
"""Of moving averages in layers that start untrained. Keras' 0.99 needs some 500 steps to forget its start: on a small
data set those are many epochs in which validation says nothing."""


_FUSED_DTYPES = ("float16", "bfloat16", "float32")


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by TensorFlow's one fused operation; weights, config and numbers are those of Keras' layer.

    Keras 3 composes its layer of separate reductions and products. The fused operation, measured on a CPU, halves the
    training step of a whole U-Net. Statistics are float32 whatever the inputs are. What the operation cannot do
    (masks, renorm, synchronized statistics, other axes, ranks and dtypes) is left to Keras' layer.

    A saved model holds Keras' layer in its place, and loads without ptxtf.

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


# The names that a saved model tells. Keras looks them up among its own layers when it loads one.
FusedBatchNormalization.__name__ = "BatchNormalization"
FusedBatchNormalization.__module__ = "keras.layers"


def _biased(variance: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Turn the fused operation's variance, divided by count - 1, into Keras' one, divided by count (0 for count 1)."""
    ratio = tf.cast(count - 1, variance.dtype) / tf.cast(count, variance.dtype)
    return tf.where(count > 1, variance * ratio, tf.zeros_like(variance))
