"""A twin against the model of plain Keras layers that it was made of."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf import devices, models
from ptxtf.models import twin

# NumPy's word to TensorFlow's variables, when a model is saved.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DECODERS = (models.unet, models.unet_plus_plus, models.fpn, models.deeplab_v3plus)
IMAGES = np.random.default_rng(0).random((2, 75, 64, 1), np.float32)  # a height that has to be padded


def settled(model):
    """Give batch normalization statistics and factors as training would: not those of no effect that it begins with."""
    generator = np.random.default_rng(0)
    ranges = {"moving_mean": (-0.1, 0.1), "moving_variance": (0.8, 1.2), "gamma": (0.8, 1.2), "beta": (-0.1, 0.1)}
    for variable in model.variables:
        if variable.name in ranges:
            variable.assign(generator.uniform(*ranges[variable.name], size=variable.shape))
    return model


def step(net, model, images):
    """Return loss and gradients of one step in training."""
    with tf.GradientTape() as tape:
        logits = net(images, training=True)
        loss = tf.reduce_mean(tf.square(logits - 1))
    return loss, tape.gradient(loss, model.trainable_variables)


def assert_close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


def difference_of(found, expected):
    """Compare gradients as one vector: some are zero but for rounding, as of a bias before a normalization."""
    found, expected = (np.concatenate([np.ravel(one) for one in gradients]) for gradients in (found, expected))
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def assert_same_gradients(compare):
    """Compare a twin with its model for other random weights until rounding switches no rectifier.

    A rectifier whose input is 0 but for rounding lets a gradient pass in one of them alone, in every second network.
    """
    for seed in range(8):
        keras.utils.set_random_seed(seed)
        if compare() < 1e-4:
            return
    pytest.fail("gradients differ for any weights")


def same_for(decoder, backbone, *, tolerance=2e-5, **options):
    assert_same_gradients(lambda: compare_training(decoder, backbone, tolerance, options))


def compare_training(decoder, backbone, tolerance, options):
    model = settled(decoder(backbone, weights=None, **options))
    expected = model(IMAGES, training=False)
    for fixed in (False, True):
        assert_close(twin(model, training=False, fixed=fixed)(IMAGES, training=False), expected, tolerance)
    training = twin(model, training=True)
    assert_close(training(IMAGES, training=False), expected, tolerance)
    before = model.get_weights()
    loss, gradients = step(model, model, IMAGES)
    averages = model.get_weights()
    model.set_weights(before)
    twin_loss, twin_gradients = step(training, model, IMAGES)
    assert float(twin_loss) == pytest.approx(float(loss), rel=1e-4)
    for found, expected in zip(model.get_weights(), averages, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    return difference_of(twin_gradients, gradients)


@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda one: one.__name__)
def test_a_twin_gives_what_its_model_gives(monkeypatch, decoder, avx512):
    monkeypatch.setattr(devices, "has_avx512", lambda: avx512)  # which decides how gradients are found
    same_for(decoder, "tiny")


@pytest.mark.parametrize("options", [{"upsampling": "transposed"}, {"attention": "scse"}], ids=str)
def test_decoders_of_other_kinds(options):
    same_for(models.unet, "tiny", **options)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vgg16", "resnet34", "resnet50", "densenet121", "inceptionv3"])
def test_backbones(backbone):
    same_for(models.unet, backbone, tolerance=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["seresnext50", "efficientnetb0", "mobilenetv3small", "convnexttiny", "xception"])
def test_predictions_over_backbones_of_other_kinds(backbone):
    """Not their training: some draw which blocks to leave out."""
    model = settled(models.unet(backbone, weights=None))
    expected = model(IMAGES, training=False)
    assert_close(twin(model, training=False)(IMAGES, training=False), expected, 1e-3)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(precision):
    model = settled(models.unet("tiny", weights=None, precision=precision))
    exact = settled(models.unet("tiny", weights=None))
    exact.set_weights(model.get_weights())
    expected = exact(IMAGES, training=False)
    error = np.std(model(IMAGES, training=False) - expected)
    for training in (False, True):
        logits = twin(model, training=training)(IMAGES, training=False)
        assert logits.dtype == tf.float32
        assert np.std(logits - expected) < 1.5 * error  # no worse than Keras' layers


def test_compile_scales_the_loss_in_float16():
    model = models.unet("tiny", weights=None, precision="mixed_float16")
    for one in (model, twin(model, training=True)):
        one.compile("adam", "mse")
        assert isinstance(one.optimizer, keras.optimizers.LossScaleOptimizer)


def test_it_has_no_variables_of_its_own_and_fewer_layers_that_work():
    model = models.unet("tiny", weights=None)
    for training in (False, True):
        made = twin(model, training=training)
        assert {id(variable) for variable in made.variables} == {id(variable) for variable in model.variables}
    kinds = {type(layer) for layer in twin(model, training=False).layers}
    assert not kinds & {keras.layers.UpSampling2D, keras.layers.Concatenate}  # both would make the fine map


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [False, True])
def test_a_mask_s_logits_are_summed_channel_by_channel(training, precision):
    model = models.unet("tiny", weights=None, precision=precision)
    assert count_operations(model, training)["DepthwiseConv2dNative"] == 0
    assert count_operations(twin(model, training=training), training)["DepthwiseConv2dNative"] == 1


def test_what_the_twin_learns_the_model_knows():
    model = settled(models.unet("tiny", weights=None))
    predict = twin(model, training=False)
    optimizer = keras.optimizers.SGD(0.1)
    _, gradients = step(twin(model, training=True), model, IMAGES)
    before = model(IMAGES, training=False)
    optimizer.apply(gradients, model.trainable_variables)
    after = model(IMAGES, training=False)
    assert np.abs(after - before).max() > 0.01
    assert_close(predict(IMAGES, training=False), after, 1e-4)


def test_a_fixed_twin_keeps_what_the_model_knew():
    model = settled(models.unet("tiny", weights=None))
    predict = tf.function(twin(model, training=False, fixed=True), autograph=False)
    before = predict(IMAGES, training=False)
    for variable in model.trainable_variables:
        variable.assign(2 * variable)
    logits = model.get_layer("logits")  # no normalization follows it, and it reads no enlarged map: it is no twin
    logits.set_weights([value / 2 for value in logits.get_weights()])
    np.testing.assert_array_equal(predict(IMAGES, training=False), before)
    assert np.abs(model(IMAGES, training=False) - before).max() > 1


def test_what_is_frozen_stays_frozen():
    model = settled(models.unet("tiny", weights=None))
    models.freeze(model)
    encoder = model.get_layer("encoder")
    before = [np.array(value) for value in encoder.get_weights()]
    loss, _ = step(twin(model, training=True), model, IMAGES)
    assert float(loss) == pytest.approx(float(step(model, model, IMAGES)[0]), rel=1e-4)
    for found, expected in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


class Doubled(keras.layers.Conv2D):
    """A convolution of somebody's own."""

    def call(self, inputs):
        return 2 * super().call(inputs)


def test_layers_that_only_look_alike_are_left():
    """Other sizes, holes, strides, an activation before the normalization, a normalization of two readers' map."""
    images = keras.Input((None, None, 4))
    up = keras.layers.UpSampling2D(2)(images)
    parts = [
        keras.layers.Conv2D(3, 3, padding="same", dilation_rate=2)(up),
        keras.layers.Conv2D(3, 5, padding="same")(up),
        keras.layers.Conv2D(4, 3, padding="same", groups=2)(up),
        keras.layers.Conv2D(3, 3, padding="same", activation="relu")(up),
        keras.layers.Conv2D(3, 3, padding="same")(keras.layers.UpSampling2D(2, interpolation="bilinear")(images)),
        keras.layers.Conv2D(3, 3, padding="same")(keras.layers.Concatenate(axis=2)([up, up])[:, :, ::2]),
    ]
    rectified = keras.layers.BatchNormalization()(parts[3])
    shared = keras.layers.Conv2D(3, 1)(images)
    parts += [rectified, keras.layers.UpSampling2D(2)(keras.layers.BatchNormalization()(shared))]
    parts += [
        keras.layers.UpSampling2D(2)(shared),
        keras.layers.BatchNormalization()(Doubled(3, 3, padding="same")(up)),
    ]
    model = settled(keras.Model(images, keras.layers.Concatenate()(parts)))
    inputs = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    for training in (False, True):
        made = twin(model, training=training)
        assert_close(made(inputs, training=False), model(inputs, training=False), 1e-5)


def test_what_a_layer_adds_to_the_loss_stays():
    images = keras.Input((None, None, 4))
    up = keras.layers.UpSampling2D(2)(images)
    model = keras.Model(images, keras.layers.Conv2D(3, 3, padding="same", activity_regularizer="l2")(up))
    made = twin(model, training=True)
    inputs = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    outputs = model(inputs, training=True)
    made(inputs, training=True)
    assert float(made.losses[0]) == pytest.approx(0.01 * np.square(outputs).sum() / len(inputs), rel=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.BatchNormalization(activity_regularizer="l2"),
        lambda: keras.layers.UpSampling2D(2, activity_regularizer="l2"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_what_other_layers_add_to_the_loss_stays(layer, training):
    images = keras.Input((None, None, 4))
    x = layer()(keras.layers.Conv2D(4, 3, padding="same")(images))
    model = settled(keras.Model(images, keras.layers.Conv2D(3, 3, padding="same")(x)))
    made = twin(model, training=training)
    inputs = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    before = model.get_weights()
    model(inputs, training=training)
    model.set_weights(before)
    made(inputs, training=training)
    assert float(made.losses[0]) == pytest.approx(float(model.losses[0]), rel=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_layers_called_by_keyword_are_left(training):
    images = keras.Input((None, None, 4))
    x = keras.layers.UpSampling2D()(inputs=images)
    x = keras.layers.Conv2D(4, 3, padding="same", groups=2)(inputs=keras.layers.Conv2D(4, 3, padding="same")(x))
    model = settled(keras.Model(images, keras.layers.BatchNormalization()(inputs=x)))
    inputs = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    expected = model(inputs, training=False)
    assert_close(twin(model, training=training)(inputs, training=False), expected, 1e-5)


class Doubling(keras.Model):
    """A model with a graph that does more than the graph says."""

    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


def test_a_model_with_a_call_of_its_own_is_left():
    inner = keras.Input((None, None, 4))
    x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.UpSampling2D(2)(inner))
    doubling = Doubling(inner, x)
    assert twin(doubling, training=False) is doubling
    images = keras.Input((None, None, 4))
    outer = keras.Model(images, doubling(keras.layers.ReLU()(images)))
    inputs = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    assert_close(twin(outer, training=False)(inputs), outer(inputs), 1e-5)


@pytest.mark.parametrize(("first", "second"), [("mixed_bfloat16", "float32"), ("float32", "mixed_bfloat16")])
def test_a_normalization_of_another_precision_is_not_folded(first, second):
    images = keras.Input((None, None, 4))
    x = keras.layers.Conv2D(4, 3, padding="same", dtype=first)(images)
    model = settled(keras.Model(images, keras.layers.BatchNormalization(dtype=second)(x)))
    inputs = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    expected = model(inputs, training=False)
    found = twin(model, training=False)(inputs, training=False)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(tf.cast(found, tf.float32), tf.cast(expected, tf.float32), atol=0.02)


def test_a_twin_is_to_train_or_fixed():
    with pytest.raises(ValueError, match=r"expected a model that is to train, or that is fixed\. Received: "):
        twin(models.unet("tiny", weights=None), training=True, fixed=True)


def test_a_model_that_is_not_functional_is_given_back():
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1)])
    assert twin(model, training=True) is model


def test_layers_called_twice_keep_to_their_maps():
    images = keras.Input((None, None, 4))
    shared = keras.layers.Conv2D(4, 3, padding="same", name="shared")
    inner = keras.Input((None, None, 4))
    nested = keras.Model(inner, keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(inner)), name="nested")
    x = shared(keras.layers.UpSampling2D(2)(nested(images)))
    x = shared(keras.layers.UpSampling2D(2)(nested(x)))
    model = settled(keras.Model(images, x))
    inputs = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    for training in (False, True):
        made = twin(model, training=training)
        assert_close(made(inputs, training=False), model(inputs, training=False), 1e-5)


def test_a_twin_for_prediction_refuses_to_train():
    model = models.unet("tiny", weights=None)
    for fixed in (False, True):
        with pytest.raises(ValueError, match=r"expected training=False of a twin .* Received: training=True"):
            twin(model, training=False, fixed=fixed)(IMAGES, training=True)


def test_losses_named_by_outputs_fit_the_twin():
    images = keras.Input((None, None, 1))
    wide = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(4, 3, padding="same")(images))
    outputs = [keras.layers.Conv2D(1, 3, padding="same", name=name)(wide) for name in ("mask", "rim")]
    training = twin(keras.Model(images, outputs), training=True)
    training.compile("sgd", loss={"mask": "mse", "rim": "mae"})
    masks = {name: np.zeros((2, 128, 128, 1), np.float32) for name in ("mask", "rim")}
    mask, rim = training(np.ones((2, 64, 64, 1), np.float32))
    expected = np.mean(np.square(mask)) + np.mean(np.abs(rim))
    found = training.evaluate(np.ones((2, 64, 64, 1), np.float32), masks, verbose=0)
    assert found[0] == pytest.approx(expected, rel=1e-5)


def test_keras_fits_a_twin_and_the_model_is_saved(tmp_path):
    model = settled(models.unet("tiny", weights=None))
    model.compile("adam", loss=lambda masks, logits: tf.reduce_mean(tf.square(logits - masks)))  # nothing to a twin
    training = twin(model, training=True)
    assert not training.compiled
    training.compile("sgd", loss="mse")
    masks = (IMAGES > 0.9).astype(np.float32)
    before = model(IMAGES, training=False)
    training.fit(IMAGES, masks, batch_size=1, epochs=1, validation_data=(IMAGES, masks), verbose=0)
    keras.Model(model.input, model.output).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded(IMAGES, training=False), model(IMAGES, training=False), 1e-5)
    assert np.abs(model(IMAGES, training=False) - before).max() > 1e-3
    # Keras' plain layers have a twin as well
    assert_close(twin(loaded, training=False)(IMAGES, training=False), model(IMAGES, training=False), 2e-5)


def count_operations(net, training):
    graph = tf.function(net).get_concrete_function(IMAGES, training=training).graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return collections.Counter(node.op for body in bodies for node in body)


def test_a_loaded_model_runs_by_the_faster_layers_too():
    """Its normalizations, which no convolution need precede, and its convolutions in groups are Keras' own."""
    assert_same_gradients(compare_normalizations_and_groups)


def compare_normalizations_and_groups():
    images = keras.Input((None, None, 1), name="images")
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(64, 3, padding="same")(images))
    x = keras.layers.BatchNormalization()(keras.layers.Activation("relu")(x))
    x = keras.layers.Conv2D(64, 3, groups=4, padding="same")(x)
    model = settled(keras.Model(images, keras.layers.Conv2D(1, 1)(x)))
    for training in (False, True):
        made = twin(model, training=training)
        assert_close(made(IMAGES, training=False), model(IMAGES, training=False), 2e-5)
        assert count_operations(made, training)["FusedBatchNormV3"] == (2 if training else 1)
    before = model.get_weights()
    steps = []
    for net in (model, made):
        model.set_weights(before)
        loss, gradients = step(net, model, IMAGES)
        steps.append((loss, gradients, model.get_weights()))
    (loss, gradients, averages), (twin_loss, twin_gradients, twin_averages) = steps
    assert float(twin_loss) == pytest.approx(float(loss), rel=1e-5)
    for found, expected in zip(twin_averages, averages, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    model.layers[2].trainable = False  # which its twin heeds, as it does in training by plain layers
    frozen = model.layers[2].get_weights()
    step(made, model, IMAGES)
    np.testing.assert_array_equal(model.layers[2].get_weights(), frozen)
    return difference_of(twin_gradients, gradients)
