"""A model of somebody's own as a backbone: which of its maps are taken, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.models import unet

# Keras 3.15 converts variables in a way that NumPy 2 deprecates, whenever it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FEW = (24, 16, 12, 8, 8)  # decoder filters, to be quick


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def custom_backbone():
    """A plain network whose own channels differ at each stride, with a head that is of no use here."""
    images = x = keras.Input((64, 64, 1))
    for number, filters in enumerate((4, 6, 8, 10, 12)):
        x = keras.layers.Conv2D(filters + 1, 3, strides=2, padding="same", name=f"down{number}")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"last{number}")(x)
    head = keras.layers.Dense(3, name="head")(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, head, name="custom")


def test_any_model_is_tapped_at_the_last_layer_of_each_stride():
    backbone = custom_backbone()
    before = backbone.get_weights()
    model = unet(backbone, decoder_filters=FEW)
    encoder = model.get_layer("encoder")
    assert [output.shape[-1] for output in encoder.outputs] == [4, 6, 8, 10, 12]
    assert model.name == "segmenter_custom"

    images = random_images(1, 64, 64, 1)
    taps = keras.Model(backbone.input, [backbone.get_layer(f"last{number}").output for number in range(5)])
    for received, expected in zip(encoder(images).values(), taps(images), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-5)
    assert model(random_images(1, 33, 70, 1), training=True).shape == (1, 33, 70, 1)
    for one, other in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_layer_frozen_in_a_model_stays_frozen():
    backbone = custom_backbone()
    backbone.get_layer("down0").trainable = False
    encoder = unet(backbone, decoder_filters=FEW).get_layer("encoder")
    assert [layer.name for layer in encoder.layers if layer.weights and not layer.trainable] == ["down0"]


def test_a_model_is_rebuilt_under_the_precision_asked_for():
    model = unet(custom_backbone(), decoder_filters=FEW, precision="mixed_bfloat16")
    assert {output.dtype for output in model.get_layer("encoder").outputs} == {"bfloat16"}


def test_a_pyramid_is_taken_as_the_backbone_gives_it():
    class Pyramid(keras.Model):
        """Has a graph and says itself where to tap it, as KerasHub's and KerasCV's backbones do."""

    source = custom_backbone()
    backbone = Pyramid(source.input, source.output)
    backbone.pyramid_outputs = {f"P{level}": source.get_layer(f"down{level - 1}").output for level in range(2, 6)}
    encoder = unet(backbone, decoder_filters=FEW).get_layer("encoder")
    assert [output.shape[-1] for output in encoder.outputs] == [4, 7, 9, 11, 13]  # stride 2 by itself


def test_stride_2_may_be_missing_and_no_other():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 4, strides=4, name="patches")(images)
    for number in range(3):
        x = keras.layers.Conv2D(8, 2, strides=2, name=f"down{number}")(x)
    model = unet(keras.Model(images, x), decoder_filters=FEW)
    assert model.get_layer("decoder3_conv1").kernel.shape[2] == FEW[1] + 8
    assert model.get_layer("decoder4_conv1").kernel.shape[2] == FEW[2]
    assert model(random_images(1, 33, 33, 1)).shape == (1, 33, 33, 1)


def stages(*, relu=keras.layers.ReLU, size=(None, None), channels=3):
    """Five strided blocks that end in a rectifier, under names of their own."""
    images = x = keras.Input((*size, channels))
    for number in range(5):
        x = keras.layers.Conv2D(4 + number, 3, strides=2, padding="same", name=f"conv{number}")(x)
        x = relu()(keras.layers.BatchNormalization(name=f"norm{number}")(x))
    return keras.Model(images, x, name="stages")


def written_out(backbone, images):
    """Compute what each stage of `stages` gives, from the layers."""
    found = []
    for number in range(5):
        images = backbone.get_layer(f"norm{number}")(backbone.get_layer(f"conv{number}")(images))
        found.append(tf.nn.relu(images))
        images = found[-1]
    return found


def test_taps_behind_a_layer_that_is_called_again_and_again():
    one = keras.layers.ReLU()
    backbone = stages(relu=lambda: one)
    encoder = unet(backbone, decoder_filters=FEW, input_shape=(None, None, 3)).get_layer("encoder")
    images = random_images(1, 64, 64, 3) - 0.5
    for received, expected in zip(encoder(images).values(), written_out(backbone, images), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-5)


def test_taps_inside_models_in_a_model(tmp_path):
    inner = stages()
    images = keras.Input((None, None, 3))
    features = keras.Sequential([inner, keras.layers.Activation("tanh")], name="within")(keras.ops.negative(images))
    model = unet(keras.Model(images, features, name="outer"), decoder_filters=FEW, input_shape=(None, None, 3))
    batch = random_images(1, 64, 64, 3)
    received = list(model.get_layer("encoder")(batch).values())
    expected = written_out(inner, -batch)
    for one, other in zip(received, [*expected[:4], tf.tanh(expected[4])], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(batch), model(batch), atol=1e-5)


def test_a_sequential_model_is_tapped():
    images = [keras.Input((None, None, 3))]
    backbone = keras.Sequential(
        images + [keras.layers.Conv2D(4 + number, 2, strides=2, name=f"down{number}") for number in range(5)]
    )
    encoder = unet(backbone, decoder_filters=FEW, input_shape=(None, None, 3)).get_layer("encoder")
    batch = random_images(1, 64, 64, 3)
    np.testing.assert_allclose(encoder(batch)["P5"], backbone(batch), atol=1e-5)


@pytest.mark.parametrize("side", [32, 100, 299])
def test_a_model_for_one_size_is_tapped_where_one_for_any_size_is(side):
    backbone = stages(size=(side, side))
    x = keras.layers.Conv2D(7, 1)(keras.layers.GlobalAveragePooling2D(keepdims=True)(backbone.output))
    for whole in (backbone, keras.Model(backbone.input, keras.layers.Flatten()(x))):
        encoder = unet(whole, decoder_filters=FEW).get_layer("encoder")
        assert [output.shape[-1] for output in encoder.outputs] == [4, 5, 6, 7, 8]


def test_a_layer_at_the_end_may_want_one_size():
    backbone = stages(size=(96, 96))
    classes = keras.layers.Dense(2)(keras.layers.Flatten()(backbone.output))
    encoder = unet(keras.Model(backbone.input, classes), decoder_filters=FEW).get_layer("encoder")
    assert [output.shape[-1] for output in encoder.outputs] == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("backbone", "match"),
    [
        (5, r"expected backbone: a name or a keras\.Model\. Received: backbone=5"),
        (
            keras.Sequential([keras.layers.Conv2D(1, 1)], name="unbuilt"),
            r"backbone unbuilt: expected a functional model",
        ),
        (keras.Model(name="own"), r"backbone own: expected a functional model, .*Received: Model"),
        (
            keras.Model(pair := [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))], pair[0], name="two"),
            r"backbone two: expected one input \[B, H, W, C\]\. Received: shapes=",
        ),
        (stages(channels=4), r"backbone stages: expected images of 1 or 3 channels\. Received: channels=4"),
    ],
)
def test_what_cannot_be_tapped_is_one_clear_line(backbone, match):
    with pytest.raises(ValueError, match=match):
        unet(backbone, decoder_filters=FEW)


class Nameless(keras.layers.Layer):
    """A layer that its own config does not build again."""

    def __init__(self, factor):
        super().__init__(name="nameless")
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs


def test_a_layer_that_cannot_be_built_again_is_named():
    whole = stages()
    backbone = keras.Model(whole.input, Nameless(2)(whole.output), name="odd")
    with pytest.raises(ValueError, match=r"layer nameless: expected one that can be built from its config\. Received"):
        unet(backbone, decoder_filters=FEW)


def test_a_backbone_for_grey_images_takes_no_colours():
    with pytest.raises(ValueError, match=r"stages: expected images of 3 channels\. Received: channels=1"):
        unet(stages(channels=1), decoder_filters=FEW, input_shape=(None, None, 3))


def test_maps_that_do_not_line_up_are_no_taps():
    images = keras.Input((None, None, 3))
    x = keras.layers.ZeroPadding2D(1)(keras.layers.Conv2D(4, 3, strides=2, padding="same")(images))  # 130 of 256
    for number in range(4):
        x = keras.layers.Conv2D(5 + number, 3, strides=2, padding="same" if number else "valid")(x)
    encoder = unet(keras.Model(images, x), decoder_filters=FEW).get_layer("encoder")
    assert [output.shape[-1] for output in encoder.outputs] == [4, 5, 6, 7, 8]

    shallow = keras.Model(images, keras.layers.Conv2D(8, 2, strides=2)(images), name="shallow")
    with pytest.raises(ValueError, match=r"shallow: expected .* strides 4, 8, 16 and 32\. Received: strides=\(2,\)"):
        unet(shallow)


def test_a_file_for_a_model(tmp_path):
    source, other = custom_backbone(), custom_backbone()
    source.save_weights(tmp_path / "custom.weights.h5")
    model = unet(other, weights=str(tmp_path / "custom.weights.h5"), decoder_filters=FEW)
    np.testing.assert_array_equal(
        model.get_layer("encoder").get_layer("last4").kernel, source.get_layer("last4").kernel
    )
