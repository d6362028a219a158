"""Backbones of other packages, given as objects: the real KerasHub and KerasCV, where they are installed."""

import keras
import numpy as np
import pytest

from ptxtf.models import deeplab_v3plus, unet

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # theirs
    pytest.mark.slow,
]


def hub_resnet():
    models = pytest.importorskip("keras_hub", exc_type=ImportError).models
    return models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 24, 28, 32],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )


def hub_densenet():
    models = pytest.importorskip("keras_hub", exc_type=ImportError).models
    return models.DenseNetBackbone(stackwise_num_repeats=[2, 2, 2, 2], image_shape=(None, None, 3))


def cv_resnet():
    models = pytest.importorskip("keras_cv", exc_type=ImportError).models
    return models.ResNetBackbone(
        stackwise_filters=[8, 16, 24, 32],
        stackwise_blocks=[1, 1, 1, 1],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,
    )


def own_pyramid(backbone):
    """What the package itself takes for the features at each stride, as a model."""
    if hasattr(backbone, "pyramid_outputs"):
        return keras.Model(backbone.input, dict(backbone.pyramid_outputs))
    names = backbone.pyramid_level_inputs
    return keras.Model(backbone.input, {level: backbone.get_layer(name).output for level, name in names.items()})


@pytest.mark.parametrize("build", [hub_resnet, hub_densenet, cv_resnet])
def test_a_backbone_of_another_package_is_tapped_where_it_says(build):
    backbone = build()
    images = np.random.default_rng(0).random((1, 64, 96, 3), np.float32)
    model = unet(backbone, input_shape=(None, None, 3))
    received = model.get_layer("encoder")(model.get_layer("scale")(images))
    for level, features in own_pyramid(backbone)(images).items():
        np.testing.assert_allclose(received[level], features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [hub_resnet, cv_resnet])
def test_a_network_over_it_takes_any_size_and_survives_saving(build, tmp_path):
    images = np.random.default_rng(0).random((1, 45, 71, 1), np.float32)
    model = unet(build())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert model(images).shape == (1, 45, 71, 1)
    np.testing.assert_allclose(again(images), model(images), atol=1e-5)
    assert deeplab_v3plus(build())(images).shape == (1, 45, 71, 1)
