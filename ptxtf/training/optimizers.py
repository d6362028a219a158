"""Adam, with a smaller step for the encoder where that is asked for.

Flows in: a learning rate or schedule. Flows out: a Keras optimizer.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class EncoderAdam(keras.optimizers.Adam):
    """Adam with another learning rate for some variables: discriminative learning rates.

    What is pretrained needs smaller steps than what begins at random (Howard and Ruder 2018,
    https://arxiv.org/abs/1801.06146). A gradient multiplied by a factor would not do: Adam divides by its size.

    Args:
        learning_rate: for all other variables: a number or a schedule.
        encoder_variables: those with another rate.
        encoder_rate: their learning rate as a multiple of the others', over 0; to keep them as they are, freeze them.

    Raises:
        ValueError: encoder_rate is not over 0.

    Example:
        >>> encoder = model.get_layer("encoder").trainable_variables
        >>> optimizer = EncoderAdam(1e-3, encoder_variables=encoder, encoder_rate=0.1)
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        encoder_variables: Sequence[keras.Variable],
        encoder_rate: float,
        **options: Any,
    ) -> None:
        if encoder_rate <= 0:
            raise ValueError(f"expected encoder_rate above 0. Received: encoder_rate={encoder_rate}")
        super().__init__(learning_rate, **options)
        self._encoder_rate = encoder_rate
        self._encoder_paths = frozenset(variable.path for variable in encoder_variables)

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        """Update one variable, by its own learning rate."""
        if self._trainable_variables[self._get_variable_index(variable)].path in self._encoder_paths:
            learning_rate = learning_rate * self._encoder_rate
        super().update_step(gradient, variable, learning_rate)
