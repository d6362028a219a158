"""In half precision too, loss and gradients stay finite where masks are extreme and images large."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.models import BACKBONES, deeplab_v3plus, fpn, twin, unet, unet_plus_plus
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


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "likeness"), [("mixed_float16", 0.9), ("mixed_bfloat16", 0.7)])
@pytest.mark.parametrize(
    "decoder",
    [unet, pytest.param(unet_plus_plus, marks=pytest.mark.long), fpn, deeplab_v3plus],
    ids=lambda one: one.__name__,
)
def test_every_decoder_trains_under_xla_as_in_float32(decoder, precision, likeness):
    keras.utils.set_random_seed(0)
    images = tf.constant(np.random.default_rng(0).random((2, 64, 64, 1), np.float32))
    masks, loss_of = tf.cast(images > 0.7, tf.float32), focal_dice()

    def loss_and_gradients(model):
        @tf.function(jit_compile=True, autograph=False)
        def step():
            with tf.GradientTape() as tape:
                loss = loss_of(masks, model(images, training=True))
            return loss, tape.gradient(loss, model.trainable_variables)

        return step()

    half = decoder("tiny", weights=None, precision=precision)
    exact = decoder("tiny", weights=None, precision="float32")
    exact.set_weights(half.get_weights())
    (loss, gradients), (expected, exact_gradients) = loss_and_gradients(half), loss_and_gradients(exact)
    assert float(loss) == pytest.approx(float(expected), rel=0.02)
    found, wanted = (np.concatenate([np.ravel(one) for one in each]) for each in (gradients, exact_gradients))
    assert np.dot(found, wanted) > likeness * np.linalg.norm(found) * np.linalg.norm(wanted)
