"""Adam's steps, worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.training.optimizers import Adam


@pytest.mark.parametrize("loss_scale", [False, True])
def test_the_encoder_s_steps_are_smaller_by_its_rate(loss_scale):
    slow, fast = keras.Variable([1.0, 2.0], name="slow"), keras.Variable([1.0, 2.0], name="fast")
    optimizer = Adam(0.1, encoder_variables=[slow], encoder_rate=0.25)
    if loss_scale:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    optimizer.build([slow, fast])

    @tf.function
    def step(gradient):
        optimizer.apply([gradient, gradient], [slow, fast])

    # Adam's first step is the learning rate in the gradient's direction, whatever its size; and so is every other while
    # the gradient stays.
    for steps in (1, 2, 3):
        step(tf.constant([5.0, -0.01]))
        np.testing.assert_allclose(slow, np.array([1.0, 2.0]) - 0.025 * steps * np.array([1, -1]), rtol=1e-4)
        np.testing.assert_allclose(fast, np.array([1.0, 2.0]) - 0.1 * steps * np.array([1, -1]), rtol=1e-4)


def test_with_a_rate_of_1_it_is_adam():
    ours, theirs = keras.Variable([1.0, -3.0], name="ours"), keras.Variable([1.0, -3.0], name="theirs")
    pairs = [(Adam(0.1, encoder_variables=[ours], encoder_rate=1.0), ours), (keras.optimizers.Adam(0.1), theirs)]
    for gradient in np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32):
        for optimizer, variable in pairs:
            optimizer.apply([tf.constant(gradient)], [variable])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("loss_scale", [False, True])
def test_what_begins_late_takes_the_steps_of_an_optimizer_that_begins_then(loss_scale):
    early, late, alone = (keras.Variable([1.0, -3.0], name=name) for name in ("early", "late", "alone"))
    optimizer, fresh = Adam(0.1, late_variables={3: [late]}), keras.optimizers.Adam(0.1)
    if loss_scale:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    optimizer.build([early, late])
    for step, gradient in enumerate(np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)):
        given = tf.constant(gradient)
        if step < 3:
            optimizer.apply([given], [early])
        else:
            optimizer.apply([given, given], [early, late])
            fresh.apply([given], [alone])
            np.testing.assert_allclose(late, alone, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_saved_model_goes_on_with_keras_adam(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    optimizer = Adam(0.1, beta_1=0.8, clipnorm=1.0, encoder_variables=model.trainable_variables, encoder_rate=0.5)
    model.compile(optimizer, "mse")
    model.fit(np.eye(2), np.ones((2, 1)), epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras.optimizers.Adam
    assert (loaded.optimizer.beta_1, loaded.optimizer.clipnorm) == (0.8, 1.0)
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.1)
    for found, expected in zip(loaded.optimizer.variables, optimizer.variables, strict=True):
        np.testing.assert_array_equal(found, expected)
    again = Adam.from_config(optimizer.get_config())
    assert (again.beta_1, again.clipnorm) == (0.8, 1.0)


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match=r"expected amsgrad=False, .* Received: amsgrad=True"):
        Adam(0.1, amsgrad=True)


@pytest.mark.parametrize("options", [{"beta_1": 0}, {"epsilon": 0}, {"beta_2": 0}], ids=str)
def test_whole_numbers_are_numbers(options):
    ours, theirs = keras.Variable([1.0, -3.0], name="ours"), keras.Variable([1.0, -3.0], name="theirs")
    for optimizer, variable in ((Adam(0.1, **options), ours), (keras.optimizers.Adam(0.1, **options), theirs)):
        for gradient in ([0.5, -2.0], [1.0, 3.0]):
            optimizer.apply([tf.constant(gradient)], [variable])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_variables_of_other_precision_take_keras_own_step():
    exact, ours = (keras.Variable([1.0, -3.0], dtype=dtype) for dtype in ("float32", "float64"))
    for variable in (exact, ours):
        optimizer = Adam(0.1)
        for gradient in ([0.5, -2.0], [1.0, 3.0]):
            optimizer.apply([tf.constant(gradient, variable.dtype)], [variable])
    assert ours.dtype == "float64"
    np.testing.assert_allclose(ours, exact, rtol=1e-5)


@pytest.mark.parametrize("rate", [0, -1.0, float("nan")])
def test_rates_not_above_0_are_refused(rate):
    with pytest.raises(ValueError, match=r"expected encoder_rate above 0\. Received: encoder_rate="):
        Adam(0.1, encoder_variables=[], encoder_rate=rate)
