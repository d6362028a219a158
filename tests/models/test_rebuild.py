import keras
import numpy as np

from ptxtf.models.rebuild import rebuild


def as_it_was(layer, config):
    return type(layer).from_config(config)


def a_model():
    """Layers that Keras names, a named one, a bare operation and a nested model."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(images)
    y = keras.layers.Conv2D(4, 1, name="named")(x)
    y = keras.ops.add(x, y)
    y = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Conv2D(2, 3)], name="inner")(y)
    return keras.Model(images, [keras.layers.Conv2D(2, 1)(y), keras.layers.BatchNormalization()(x)], name="outer")


def test_the_copy_gives_what_the_model_gives():
    model = a_model()
    copy = rebuild(model, as_it_was)
    images = np.random.default_rng(0).random((1, 9, 7, 3), np.float32)
    for received, expected in zip(copy(images), model(images), strict=True):
        np.testing.assert_array_equal(received, expected)
    shared = {id(weight) for weight in model.weights} & {id(weight) for weight in copy.weights}
    assert not shared
    assert copy.name == "outer"


def test_names_do_not_depend_on_what_was_built_before():
    names = [layer.name for layer in rebuild(a_model(), as_it_was).layers if layer.weights]
    assert names == [layer.name for layer in rebuild(a_model(), as_it_was).layers if layer.weights]
    assert sorted(names) == ["batch_normalization", "conv2d", "conv2d_1", "inner", "named"]


def test_names_are_numbered_in_the_order_in_which_keras_numbered_them():
    images = x = keras.Input((4, 4, 1))
    for number in (10, 9, 11):
        x = keras.layers.ReLU(name=f"re_lu_{number}")(x)
    copy = rebuild(keras.Model(images, x), as_it_was)
    assert [layer.name for layer in copy.layers[1:]] == ["re_lu_1", "re_lu", "re_lu_2"]


def test_changes_reach_nested_layers():
    def pad_same(layer, config):
        if config.get("padding") == "valid":
            config["padding"] = "same"
        return type(layer).from_config(config)

    assert a_model()(np.zeros((1, 9, 9, 3)))[0].shape == (1, 7, 7, 2)
    assert rebuild(a_model(), pad_same)(np.zeros((1, 9, 9, 3)))[0].shape == (1, 9, 9, 2)


def test_derived_states_are_copied():
    images = keras.Input((2, 2, 1))
    model = keras.Model(images, keras.layers.Normalization(mean=None)(images))
    model.layers[-1].adapt(np.array([1.0, 5.0]).reshape(2, 1, 1, 1))
    inputs = np.full((1, 2, 2, 1), 7.0, np.float32)
    np.testing.assert_allclose(model(inputs), 2.0)
    np.testing.assert_allclose(rebuild(model, as_it_was)(inputs), 2.0)
