"""Masks and logits -> loss: focal plus Dice, in float32 whatever the model computes in.

Flows in: masks [B, H, W, 1] of {0, 1} and logits of the same shape, any float type. Flows out: float32 [B], one loss
per image, or their mean as Keras reduces it. Sums over 512² pixels overflow float16, hence the cast first.
"""

import keras
import tensorflow as tf


def focal_dice(
    *,
    focal_weight: float = 1.0,
    dice_weight: float = 1.0,
    alpha: float = 0.25,
    gamma: float = 2.0,
    smooth: float = 1.0,
    reduction: str | None = "sum_over_batch_size",
) -> keras.losses.Loss:
    """Make the study's loss on logits: focal_weight · focal + dice_weight · (1 - soft Dice).

    Args:
        focal_weight: weight of the focal loss.
        dice_weight: weight of the Dice loss.
        alpha: focal weight of foreground pixels; background pixels get 1 - alpha.
        gamma: focusing exponent.
        smooth: pixels added to both sides of the Dice fraction; see `soft_dice_loss`.
        reduction: Keras' reduction over the batch; None gives one value per image.

    Returns:
        A `keras.losses.Loss` called with (masks, logits).

    Example:
        >>> model.compile(optimizer="adam", loss=focal_dice())
    """
    return FocalDice(
        focal_weight=focal_weight, dice_weight=dice_weight, alpha=alpha, gamma=gamma, smooth=smooth, reduction=reduction
    )


@keras.saving.register_keras_serializable("ptxtf")
class FocalDice(keras.losses.Loss):
    """The loss that `focal_dice` makes; see there."""

    def __init__(
        self,
        *,
        focal_weight: float = 1.0,
        dice_weight: float = 1.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        smooth: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal_dice",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self._settings = {
            "focal_weight": focal_weight,
            "dice_weight": dice_weight,
            "alpha": alpha,
            "gamma": gamma,
            "smooth": smooth,
        }

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:  # noqa: D102 (Keras' own hook)
        settings = self._settings
        focal = focal_loss(y_true, y_pred, alpha=settings["alpha"], gamma=settings["gamma"])
        dice = soft_dice_loss(y_true, y_pred, smooth=settings["smooth"])
        return settings["focal_weight"] * focal + settings["dice_weight"] * dice

    def get_config(self) -> dict:  # noqa: D102 (Keras' own hook)
        return {"name": self.name, "reduction": self.reduction, **self._settings}


def focal_loss(masks: tf.Tensor, logits: tf.Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> tf.Tensor:
    """Return the focal loss of Lin et al. (2017), eq. 5, averaged over each image's pixels.

    FL = -alpha_t (1 - p_t)^gamma log(p_t)

    Written with softplus, which is exact and has a finite gradient for every logit and every gamma; Keras' own
    (`keras.losses.BinaryFocalCrossentropy`) has a nan one below gamma = 1 as soon as a pixel is exactly right.

    Args:
        masks: [B, H, W, 1] of {0, 1}.
        logits: float [B, H, W, 1].
        alpha: weight of foreground pixels; background pixels get 1 - alpha.
        gamma: focusing exponent; 0 leaves a weighted cross-entropy.

    Returns:
        float32 [B].
    """
    masks, logits = tf.cast(masks, tf.float32), tf.cast(logits, tf.float32)
    foreground = masks > 0.5
    right = tf.where(foreground, logits, -logits)  # the logit of p_t
    weight = tf.where(foreground, alpha, 1.0 - alpha)
    focal = weight * tf.exp(-gamma * tf.nn.softplus(right)) * tf.nn.softplus(-right)
    return tf.reduce_mean(focal, axis=[1, 2, 3])


def soft_dice_loss(masks: tf.Tensor, logits: tf.Tensor, *, smooth: float = 1.0) -> tf.Tensor:
    """Return 1 - (2 |X∩Y| + smooth) / (|X| + |Y| + smooth) for each image, of probabilities X and mask Y.

    Taken per image, so that the value does not depend on the batch or on how it is spread over devices. With
    `smooth` above 0 a healthy image teaches too: its loss falls to 0 as the predicted area does. (`keras.losses.Dice`
    has no such term, which leaves it at 1 for every empty mask.)

    Args:
        masks: [B, H, W, 1] of {0, 1}.
        logits: float [B, H, W, 1].
        smooth: in pixels.

    Returns:
        float32 [B].
    """
    masks, probabilities = tf.cast(masks, tf.float32), tf.sigmoid(tf.cast(logits, tf.float32))
    overlap = tf.reduce_sum(masks * probabilities, axis=[1, 2, 3])
    areas = tf.reduce_sum(masks, axis=[1, 2, 3]) + tf.reduce_sum(probabilities, axis=[1, 2, 3])
    return 1.0 - (2.0 * overlap + smooth) / (areas + smooth)
