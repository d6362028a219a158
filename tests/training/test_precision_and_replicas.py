"""A real U-Net under low precision, and the step under two replicas against one device."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from ptxtf import config
from ptxtf.training import loop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        # Keras 3.15 on NumPy 2.4, when it saves weights
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
]


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_trains_and_keeps_float32_weights(records, tmp_path, precision):
    settings = {"backbone": "tiny", "weights": "none", "decoder_filters": (16, 16, 16, 16, 16), "precision": precision}
    folder = loop.train(
        config.RunConfig(
            config.InputConfig(records_dir=str(records), batch_size=4),
            config.TrainConfig(run_dir=str(tmp_path / "run"), epochs=3, overlays=0),
            config.PreprocessConfig(clahe=False),
            network=config.ModelConfig(**settings),
            optimizer=config.OptimizerConfig(learning_rate=3e-3),
        )
    )
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    losses = [float(row[1]) for row in rows[1:]]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    model = keras.models.load_model(folder / "model.keras")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.output.dtype == "float32"


TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from ptxtf import forward, preprocess
from ptxtf.config import LossConfig, PreprocessConfig
from ptxtf.models.layers import FusedBatchNormalization
from ptxtf.training import averages, distribution, losses, optimizers, steps

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
masks = (rng.random((8, 32, 32, 1)) < 0.2).astype(np.uint8)
seeds = np.stack([np.arange(8), np.arange(8)], axis=1).astype(np.int32)

def weights(strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        inputs = keras.Input((32, 32, 1))
        hidden = keras.layers.Conv2D(4, 3, padding="same", activation="swish")(inputs)
        hidden = FusedBatchNormalization(momentum=0.5)(hidden)  # of the whole part of a batch
        model = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same")(hidden))
        optimizer = optimizers.Adam(0.01, clip_norm=0.1, weight_decay=0.1)
        optimizer.build(model.trainable_variables)
        average = averages.MovingAverage(model, 0.5)
        learner = steps.Learner(model=model, optimizer=optimizer, loss=losses.of_run(LossConfig()), batch_size=8,
                                accumulate=2, average=average)
        logits_of = forward.logits_function(model, PreprocessConfig(), xla=False)
        augment = tf.function(preprocess.for_training(PreprocessConfig()), jit_compile=True)
        train, score = steps.train_function(learner, augment), steps.score_function(learner, logits_of)

    def part(*batch):
        (only,) = distribution.distribute(strategy, tf.data.Dataset.from_tensors(batch), accumulate=2)
        return only

    first, *others = (part(np.roll(images, k, axis=1), np.roll(masks, k, axis=1), seeds + k) for k in range(3))
    values = [*train([first]).numpy().tolist(), *train(others).numpy().tolist()]
    score = [value.numpy().tolist() for value in score(part(images, masks, [True] * 7 + [False]))]
    found = {"loss": values, "score": score, "weights": [w.ravel().tolist() for w in model.get_weights()]}
    with average.in_place():
        return {**found, "averages": [w.ravel().tolist() for w in model.get_weights()]}

print(json.dumps([weights(tf.distribute.get_strategy()), weights(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))]))
"""


def test_two_replicas_equal_one_device():
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-5)
    np.testing.assert_allclose(one["score"][:-1], two["score"][:-1], rtol=1e-5)
    assert np.sum(one["score"][-1]) == np.sum(two["score"][-1]) == 7 * 32 * 32
    assert one["score"][0] == 7  # the filler does not count
    for name in ("weights", "averages"):
        for ours, theirs in zip(one[name], two[name], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert one["weights"] != one["averages"]
    assert one["loss"][-1] < one["loss"][0]


OVERFLOW = """
import keras, numpy as np, tensorflow as tf
from ptxtf.config import LossConfig
from ptxtf.training import losses, optimizers, steps

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    images = keras.Input((4, 4, 1))
    model = keras.Model(images, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(images))
    optimizer = keras.optimizers.LossScaleOptimizer(optimizers.Adam(0.1, clip_norm=1.0), initial_scale=1024.0)
    optimizer.build(model.trainable_variables)
    loss = losses.of_run(LossConfig(dice_weight=0))
    learner = steps.Learner(model=model, optimizer=optimizer, loss=loss, batch_size=2)
    train = steps.train_function(learner, lambda images, masks: (images, masks))

def values(first, second):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.fill([1, 1, 4, 4, 1], (first, second)[context.replica_id_in_sync_group]))

masks = values(0.0, 0.0)
train([(values(1.0, np.float32(3e38)), masks)])  # too much for the second replica's gradient alone
assert float(optimizer.dynamic_scale.numpy()) == 512, optimizer.dynamic_scale
assert model.get_weights()[0].item() == 1, model.get_weights()
train([(values(1.0, 1.0), masks)])
kernels = [copy.numpy().item() for copy in strategy.experimental_local_results(model.trainable_variables[0].value)]
np.testing.assert_allclose(kernels, [0.9, 0.9], rtol=1e-5)
"""


def test_an_overflow_on_one_replica_stops_the_step_of_all():
    done = subprocess.run([sys.executable, "-c", OVERFLOW], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
