"""With holes instead of strides, every other feature is that of the original network."""

import keras
import numpy as np
import pytest

from ptxtf.models.encoders import EncoderOptions, encoder_of, named_encoder


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def test_every_other_feature_is_the_original_s():
    """ResNet-34 pads alike on all sides, so that even positions of the larger map are those of the smaller one."""
    pyramids = []
    for output_stride in (32, 16):
        keras.utils.set_random_seed(0)
        model = named_encoder("resnet34", EncoderOptions(channels=3, output_stride=output_stride)).model
        pyramids.append(model(255 * random_images(1, 128, 192, 3)))
    plain, holed = pyramids
    assert holed["P5"].shape == (1, 8, 12, 512)
    for name in ("P1", "P2", "P3", "P4"):
        np.testing.assert_array_equal(holed[name], plain[name])
    scale = np.abs(plain["P5"]).max()
    np.testing.assert_allclose(holed["P5"][:, ::2, ::2] / scale, plain["P5"] / scale, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first"), [("densenet121", 0), ("resnet50", 0), ("mobilenetv2", 1), ("convnexttiny", 0)]
)
def test_of_other_networks_too_as_they_pad(name, first):
    """Where convolutions pad at the bottom and right alone, a window's middle is at odd pixels."""
    inner = slice(8, 16)  # of 24: what no border has reached
    maps = []
    for output_stride in (32, 16):
        keras.utils.set_random_seed(0)
        model = named_encoder(name, EncoderOptions(channels=3, output_stride=output_stride)).model
        maps.append(model(random_images(1, 768, 768, 3))["P5"].numpy())
    plain, holed = maps[0], maps[1][:, first::2, first::2]
    error = np.abs(plain - holed)[:, inner, inner].max()
    assert error < 1e-5 * np.abs(plain - plain.mean(axis=(1, 2))).max()


@pytest.mark.parametrize("name", ["vgg16", "densenet121", "tiny", "convnexttiny"])
def test_the_last_stage_keeps_its_size(name):
    model = named_encoder(name, EncoderOptions(channels=3, output_stride=16)).model
    maps = model.compute_output_spec(keras.KerasTensor((1, 64, 96, 3)))
    sizes = {name: tuple(map_.shape[1:3]) for name, map_ in maps.items()}
    expected = {"P1": (32, 48), "P2": (16, 24), "P3": (8, 12), "P4": (4, 6), "P5": (4, 6)}
    assert sizes == {name: size for name, size in expected.items() if name in sizes}
    assert len(sizes) == 4 + (name != "convnexttiny")  # which begins at stride 4


def test_what_was_strided_or_coarse_changes_and_nothing_else():
    images = x = keras.Input((None, None, 3))
    for number in range(5):
        x = keras.layers.ZeroPadding2D(1, name=f"pad{number}")(x)
        x = keras.layers.Conv2D(4, 3, strides=2, name=f"down{number}")(x)
        x = keras.layers.DepthwiseConv2D(5, padding="same", name=f"depth{number}")(x)
        x = keras.layers.Conv2D(4, 1, name=f"point{number}")(x)
    encoder = encoder_of(keras.Model(images, x), EncoderOptions(channels=3, output_stride=16)).model
    layers = {layer.name: layer for layer in encoder.layers}
    assert [layers[f"down{n}"].strides[0] for n in range(5)] == [2, 2, 2, 2, 1]
    assert [layers[f"depth{n}"].dilation_rate[0] for n in range(5)] == [1, 1, 1, 1, 2]
    assert [layers[f"point{n}"].dilation_rate[0] for n in range(5)] == [1, 1, 1, 1, 1]
    assert [layers[f"pad{n}"].padding for n in range(5)] == [((1, 1), (1, 1))] * 4 + [((0, 0), (0, 0))]
    assert encoder(random_images(1, 64, 96, 3))["P5"].shape == (1, 4, 6, 4)


class Halved(keras.layers.Layer):
    """Somebody's own layer that halves a map."""

    def call(self, maps):
        return maps[:, ::2, ::2]


def test_strides_out_of_reach_are_refused():
    images = x = keras.Input((None, None, 3))
    for number in range(4):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"down{number}")(x)
    x = keras.layers.Conv2D(4, 1, name="last")(Halved()(x))
    with pytest.raises(ValueError, match=r"expected strides of plain layers, .* output_stride=16\. Received: others"):
        encoder_of(keras.Model(images, x), EncoderOptions(channels=3, output_stride=16))
