"""Adam and AdamW in one operation a variable, with a smaller step for the encoder where that is asked for.

Flows in: a model, settings and a learning rate or schedule. Flows out: a Keras optimizer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from ptxtf.config import OptimizerConfig


class Adam(keras.optimizers.Adam):
    """Adam by TensorFlow's one fused operation, with another learning rate for some variables if wanted.

    Variables and numbers are those of Keras' optimizer, which composes a step of some twenty operations a variable.
    Measured on a CPU over the 33 million weights of a U-Net with ResNet50, the fused ones take 0.3 of the time.

    What is pretrained needs smaller steps than what begins at random: discriminative learning rates (Howard and Ruder
    2018, https://arxiv.org/abs/1801.06146). A gradient multiplied by a factor would not do: Adam divides by its size.

    With weight_decay it is AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101): each step first takes
    weight_decay times its learning rate of a variable away, if that has two axes or more, so of kernels alone.

    Adam's averages begin at zero, for which it makes up by the number of steps. What thaws late has taken fewer of them
    than the optimizer: by the optimizer's number its first step would be three times as long as any should be.

    Args:
        learning_rate: for all other variables: a number or a schedule.
        encoder_variables: those with another rate.
        encoder_rate: their learning rate as a multiple of the others', over 0; to keep them as they are, freeze them.
        late_variables: by number of steps, those that begin to learn after so many.
        clip_norm: the most that the gradient of all variables may measure, summed over replicas (Keras' own
            global_clipnorm measures each replica's); 0: anything.
        **options: as Keras' optimizer takes them, but for amsgrad. A saved model holds Keras' Adam with them, and with
            its state, for which all learning rates are the same.

    Raises:
        ValueError: encoder_rate is not over 0, or amsgrad is asked for.

    Example:
        >>> encoder = model.get_layer("encoder").trainable_variables
        >>> optimizer = Adam(1e-3, encoder_variables=encoder, encoder_rate=0.1)
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        *,
        encoder_variables: Sequence[keras.Variable] = (),
        encoder_rate: float = 1.0,
        late_variables: Mapping[int, Sequence[keras.Variable]] | None = None,
        clip_norm: float = 0.0,
        **options: Any,
    ) -> None:
        if not encoder_rate > 0:  # nor nan
            raise ValueError(f"expected encoder_rate above 0. Received: encoder_rate={encoder_rate}")
        if options.get("amsgrad"):
            raise ValueError("expected amsgrad=False, as the fused operation has none of it. Received: amsgrad=True")
        super().__init__(learning_rate, **options)
        self._encoder_rate = encoder_rate
        self._clip_norm = clip_norm
        self._of_encoder = frozenset(id(variable) for variable in encoder_variables)
        late = late_variables or {}
        self._begins = {id(variable): begin for begin, variables in late.items() for variable in variables}
        self._scalars: dict[int, dict[str, tf.Tensor]] = {}  # of a step by when variables began, while `apply` runs

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """Update all variables."""
        # Made once for all variables: a graph of them for each takes seconds to trace.
        self._scalars = {begin: self._scalars_from(begin) for begin in {0, *self._begins.values()}}
        super().apply(grads, trainable_variables)
        self._scalars = {}  # a checkpoint would ask for what is in it

    def _scalars_from(self, begin: int) -> dict[str, tf.Tensor]:
        """Return what a step's fused operation takes besides a variable that began to learn after so many steps."""
        step = tf.cast(tf.maximum(self.iterations + 1 - begin, 1), tf.float32)  # a loss scale may have skipped some
        return {
            "beta1_power": self.beta_1**step,
            "beta2_power": self.beta_2**step,
            "beta1": tf.constant(self.beta_1, tf.float32),
            "beta2": tf.constant(self.beta_2, tf.float32),
            "epsilon": tf.constant(self.epsilon, tf.float32),
        }

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update one variable, by its own learning rate."""
        index = self._get_variable_index(variable)
        known = id(self._trainable_variables[index])
        if known in self._of_encoder:
            learning_rate = learning_rate * self._encoder_rate
        if self.weight_decay and variable.shape.rank > 1:
            variable.assign_sub(variable * tf.cast(self.weight_decay * learning_rate, variable.dtype))
        if variable.dtype != tf.float32:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            lr=learning_rate,
            grad=gradient,
            **self._scalars[self._begins.get(known, 0)],
        )

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        """Leave it to `update_step`, which knows each variable's learning rate."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple[tf.Tensor, Any]]:
        """Sum gradients over replicas, and shorten what is too long."""
        reduced = super()._all_reduce_sum_gradients(grads_and_vars)
        if not self._clip_norm:
            return reduced
        gradients, variables = zip(*reduced, strict=True)
        clipped, _ = tf.clip_by_global_norm(gradients, self._clip_norm)
        return list(zip(clipped, variables, strict=True))


# What a saved model calls it: Keras looks the name up among its own when it loads one.
Adam.__module__ = "keras.optimizers"


def adam(
    model: keras.Model,
    config: OptimizerConfig,
    learning_rate: Any,
    *,
    precision: str = "float32",
    late_variables: Mapping[int, Sequence[keras.Variable]] | None = None,
) -> keras.optimizers.Optimizer:
    """Build a run's optimizer, for all variables of a model that may be trained at some time.

    Args:
        model: a network of `ptxtf.models`.
        config: the settings.
        learning_rate: a number or a schedule.
        late_variables: as `Adam` takes them.
        precision: the model's: float16 gradients underflow unless the loss is scaled; bfloat16 has float32's range.
    """
    encoder = model.get_layer("encoder").trainable_variables if config.encoder_rate != 1 else ()
    optimizer = Adam(
        learning_rate,
        encoder_variables=encoder,
        encoder_rate=config.encoder_rate,
        late_variables=late_variables,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay or None,
    )
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer
