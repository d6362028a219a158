"""In half precision too, loss and gradients stay finite where masks are extreme and images large."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.models import BACKBONES, twin, unet
from ptxtf.training.losses import focal_dice

QUICK = ("tiny", "mobilenetv3small")
LARGE = ("efficientnetb6", "efficientnetb7", "efficientnetv2l", "convnextlarge", "convnextxlarge")
"""More than a machine of 24 GiB trains at 1024²."""


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, 256) for name in QUICK),
        *(pytest.param(name, 1024, marks=pytest.mark.exhaustive) for name in BACKBONES if name not in LARGE),
        *(pytest.param(name, 256, marks=pytest.mark.exhaustive) for name in LARGE),
    ],
)
def test_loss_and_gradients_are_finite_for_empty_and_full_masks(name, size, precision):
    keras.utils.set_random_seed(0)
    model = unet(name, weights=None, precision=precision)
    # what training runs: float16 is for GPUs, under XLA; bfloat16 for processors as well
    xla = precision == "mixed_float16"
    net = model if xla else twin(model, training=True)
    loss_of, images = focal_dice(), tf.constant(np.random.default_rng(0).random((1, size, size, 1), np.float32))

    @tf.function(jit_compile=xla, autograph=False)
    def step(masks):
        with tf.GradientTape() as tape:
            logits = net(images, training=True)
            loss = loss_of(masks, logits)
        return logits, loss, tape.gradient(loss, model.trainable_variables)

    for masks in (tf.zeros_like(images), tf.ones_like(images)):
        logits, loss, gradients = step(masks)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
        assert np.isfinite(loss)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        assert any(np.abs(gradient).max() > 0 for gradient in gradients)
