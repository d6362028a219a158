"""Masks and logits -> loss: focal, Dice, cross-entropy, Tversky, Lovász and their weighted sum.

Flows in: masks [B, H, W, 1] of {0, 1} and logits of the same shape, any float type. Flows out: float32 [B], one loss
per image, or their mean as Keras reduces it. Computed in float32 whatever the model computes in: sums over 512² pixels
overflow float16.

`of_run` is what a training step calls, `heads` what the network must have for it; `focal_dice` is the study's loss.
"""

import dataclasses
import functools
from collections.abc import Iterable

import keras
import tensorflow as tf

from ptxtf.config import LossConfig


def of_run(config: LossConfig) -> "SegmentationLoss":
    """Return the loss of a run: (masks, outputs) -> float32 [B], one value per image.

    Example:
        >>> loss = of_run(LossConfig(focal_weight=0, lovasz_weight=1, presence_weight=0.5))
        >>> loss(masks, model(images))
    """
    return SegmentationLoss(reduction=None, **dataclasses.asdict(config))


def heads(config: LossConfig) -> tuple[str, ...]:
    """Return the heads that a network needs for this loss, as `ptxtf.models.unet` takes them."""
    weights = {"mask": 1.0, "presence": config.presence_weight, "sides": config.sides_weight}
    return tuple(head for head, weight in weights.items() if weight)


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

    Raises:
        ValueError: a setting that `LossConfig` refuses.

    Example:
        >>> model.compile(optimizer="adam", loss=focal_dice())
    """
    return SegmentationLoss(
        focal_weight=focal_weight,
        dice_weight=dice_weight,
        focal_alpha=alpha,
        focal_gamma=gamma,
        smooth=smooth,
        reduction=reduction,
        name="focal_dice",
    )


@keras.saving.register_keras_serializable("ptxtf")
class SegmentationLoss(keras.losses.Loss):
    """The weighted sum of losses that `LossConfig` describes.

    mask loss + presence_weight · cross-entropy of "is there any" + sides_weight · mean of the sides' mask losses

    where the mask loss is the sum of focal, Dice, cross-entropy, Tversky and Lovász, each times its weight. What has
    weight 0 is not computed.

    It is called with masks [B, H, W, 1] of {0, 1} and with what the model gives: logits of that shape, or a dictionary
    with such logits as "mask", "side1", "side2" … and "presence", [B, 1].

    Args:
        smooth: pixels added to both sides of the Dice and the Tversky fraction.
        reduction: Keras' reduction over the batch; None gives one value per image.
        name: of the loss, as Keras shows it.
        **settings: fields of `LossConfig`, with its defaults.

    Raises:
        ValueError: a setting that `LossConfig` refuses; when called, outputs that lack a head with a weight.

    Example:
        >>> model.compile(optimizer="adam", loss=SegmentationLoss(bce_weight=1, lovasz_weight=1))
    """

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "segmentation_loss",
        **settings: float,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        config = LossConfig(**settings)
        terms = (
            (config.focal_weight, functools.partial(focal_loss, alpha=config.focal_alpha, gamma=config.focal_gamma)),
            (config.dice_weight, functools.partial(soft_dice_loss, smooth=smooth)),
            (config.bce_weight, binary_crossentropy),
            (config.tversky_weight, functools.partial(tversky_loss, alpha=config.tversky_alpha, smooth=smooth)),
            (config.lovasz_weight, lovasz_hinge_loss),
        )
        self._terms = [(weight, term) for weight, term in terms if weight]
        self._config = config
        self._smooth = smooth

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor | dict[str, tf.Tensor]) -> tf.Tensor:  # noqa: D102 (Keras' own)
        outputs = y_pred if isinstance(y_pred, dict) else {"mask": y_pred}
        _check_heads(outputs, heads(self._config))
        if self._config.is_of_images:
            return self._config.presence_weight * _presence_loss(y_true, outputs["presence"])
        loss = self.of_mask(y_true, outputs["mask"])
        if self._config.presence_weight:
            loss += self._config.presence_weight * _presence_loss(y_true, outputs["presence"])
        if self._config.sides_weight:
            sides = [self.of_mask(y_true, logits) for name, logits in outputs.items() if _head_of(name) == "sides"]
            loss += self._config.sides_weight * tf.reduce_mean(sides, axis=0)
        return loss

    def of_mask(self, masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the mask loss alone, float32 [B], of masks and logits [B, H, W, 1].

        Where no mask loss has a weight, it is the presence loss of the mean logit, as `ptxtf.models.classifier` has it.
        """
        if self._config.is_of_images:
            return self._config.presence_weight * _presence_loss(masks, tf.reduce_mean(logits, axis=[1, 2]))
        return tf.add_n([weight * term(masks, logits) for weight, term in self._terms])

    def get_config(self) -> dict:  # noqa: D102 (Keras' own hook)
        return {**super().get_config(), "smooth": self._smooth, **dataclasses.asdict(self._config)}


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


def binary_crossentropy(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy, averaged over each image's pixels: of a pixel, -log p_t.

    Args:
        masks: [B, H, W, 1] of {0, 1}.
        logits: float [B, H, W, 1].

    Returns:
        float32 [B], 0 or more.
    """
    masks, logits = tf.cast(masks, tf.float32), tf.cast(logits, tf.float32)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=logits)
    return tf.reduce_mean(entropy, axis=[1, 2, 3])


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
        float32 [B] in 0..1.
    """
    return tversky_loss(masks, logits, alpha=0.5, smooth=smooth)


def tversky_loss(masks: tf.Tensor, logits: tf.Tensor, *, alpha: float = 0.3, smooth: float = 1.0) -> tf.Tensor:
    """Return 1 - the Tversky index of Salehi et al. (2017), eq. 2, for each image, of probabilities X and mask Y.

    T = TP / (TP + alpha FP + (1 - alpha) FN) = |X∩Y| / (alpha |X| + (1 - alpha) |Y|)

    `smooth` is added to both sides of this fraction after each was doubled, so that alpha = 0.5 is `soft_dice_loss`
    with the same `smooth`. An alpha of 0 leaves 1 - recall, an alpha of 1 leaves 1 - precision. (`keras.losses.Tversky`
    has the two weights exchanged up to Keras 3.15, keras-team/keras#23333.)

    Args:
        masks: [B, H, W, 1] of {0, 1}.
        logits: float [B, H, W, 1].
        alpha: weight of false positive pixels, 0..1; false negative ones get 1 - alpha.
        smooth: in pixels.

    Returns:
        float32 [B] in 0..1.
    """
    masks, probabilities = tf.cast(masks, tf.float32), tf.sigmoid(tf.cast(logits, tf.float32))
    overlap = tf.reduce_sum(masks * probabilities, axis=[1, 2, 3])
    true, predicted = tf.reduce_sum(masks, axis=[1, 2, 3]), tf.reduce_sum(probabilities, axis=[1, 2, 3])
    return 1.0 - (2.0 * overlap + smooth) / (2.0 * alpha * predicted + 2.0 * (1.0 - alpha) * true + smooth)


def lovasz_hinge_loss(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the Lovász hinge of Berman et al. (2018) for each image: a convex stand-in for 1 - IoU.

    A pixel's error is max(0, 1 - logit) in the foreground, max(0, 1 + logit) in the background. From the greatest
    error to the least, each is weighted by how much the Jaccard loss grows as its pixel turns wrong, too; the weights
    of an image sum to 1. Where a mask is empty the first pixel has it all, and the loss is the greatest error.

    It sorts every image's pixels, and so takes about nine times as long as `focal_loss` on two cores.

    Args:
        masks: [B, H, W, 1] of {0, 1}.
        logits: float [B, H, W, 1].

    Returns:
        float32 [B], 0 or more.
    """
    foreground, logits = tf.cast(masks, tf.float32) > 0.5, tf.cast(logits, tf.float32)
    foreground, logits = (tf.reshape(x, [tf.shape(x)[0], -1]) for x in (foreground, logits))  # [B, N]
    errors = tf.nn.relu(1.0 - tf.where(foreground, logits, -logits))
    order = tf.argsort(errors, axis=1, direction="DESCENDING")
    foreground, errors = (tf.gather(x, order, batch_dims=1) for x in (foreground, errors))
    return tf.reduce_sum(errors * _jaccard_steps(foreground), axis=1)


def _jaccard_steps(foreground: tf.Tensor) -> tf.Tensor:
    """Return how much the Jaccard loss, 1 - I / U, grows as one pixel after another is taken for the other class.

    A pixel of the foreground takes 1 from I, one of the background adds 1 to U, so that the loss grows by 1 / U or by
    I / (U - 1) - I / U. Written as such: a difference of two losses near 1 is float32's rounding in a large image.

    Args:
        foreground: bool [B, N], which pixels are of the mask.

    Returns:
        float32 [B, N] in 0..1; each row sums to 1.
    """
    areas = tf.reduce_sum(tf.cast(foreground, tf.float32), axis=1, keepdims=True)
    intersections = areas - tf.cumsum(tf.cast(foreground, tf.float32), axis=1)
    unions = areas + tf.cumsum(tf.cast(~foreground, tf.float32), axis=1)
    of_background = intersections / (unions * tf.maximum(unions - 1.0, 1.0))
    # U = 1 in the background: the first pixel of an empty mask, whose loss was 0 and becomes 1
    return tf.where(foreground, 1.0 / unions, tf.where(unions > 1.0, of_background, 1.0))


def _presence_loss(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy, float32 [B], of one logit per image, [B, 1], against whether its mask has a pixel."""
    present = tf.reduce_max(masks, axis=[1, 2, 3], keepdims=True)
    return binary_crossentropy(present, logits[:, :, tf.newaxis, tf.newaxis])


def _check_heads(outputs: Iterable[str], expected: tuple[str, ...]) -> None:
    if not set(expected) <= {_head_of(name) for name in outputs}:
        raise ValueError(f"expected outputs of the heads {', '.join(expected)}. Received: outputs={', '.join(outputs)}")


def _head_of(output: str) -> str:
    """Return the head that gives one of the model's outputs: "sides" gives side1, side2 …, others one of their name."""
    return "sides" if output.startswith("side") else output
