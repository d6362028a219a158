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
        config.InputConfig(records_dir=str(records), batch_size=4),
        config.PreprocessConfig(),
        config.ModelConfig(**settings),
        config.TrainConfig(run_dir=str(tmp_path / "run"), epochs=3, learning_rate=3e-3),
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
from ptxtf.config import PreprocessConfig
from ptxtf.training import losses, steps

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
masks = (rng.random((8, 32, 32, 1)) < 0.2).astype(np.uint8)
seeds = np.stack([np.arange(8), np.arange(8)], axis=1).astype(np.int32)
batch = {"image": images, "mask": masks, "image_id": [f"{i}" for i in range(7)] + [""], "seed": seeds}

def weights(strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        inputs = keras.Input((32, 32, 1))
        hidden = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        model = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same")(hidden))
        optimizer = keras.optimizers.SGD(0.5)
        optimizer.build(model.trainable_variables)
        logits_of = forward.logits_function(model, PreprocessConfig(), xla=False)
        augment = tf.function(preprocess.for_training(PreprocessConfig()), jit_compile=True)
        functions = steps.build(model, logits_of, losses.focal_dice(reduction=None), optimizer,
                                augment=augment, batch_size=8, xla=False)
    data = tf.data.Dataset.from_tensors(batch).repeat(3).unbatch().batch(8, drop_remainder=True)
    values = []
    for part in strategy.experimental_distribute_dataset(data):
        values.append(float(functions.update(*functions.augment(part), tf.constant(0))))
    score = [float(value) for value in functions.score(part)]
    return {"loss": values, "score": score, "weights": [w.ravel().tolist() for w in model.get_weights()]}

print(json.dumps([weights(tf.distribute.get_strategy()), weights(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))]))
"""


def test_two_replicas_equal_one_device():
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-5)
    np.testing.assert_allclose(one["score"], two["score"], rtol=1e-5)
    assert one["score"][0] == 7  # the filler does not count
    for ours, theirs in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert one["loss"][-1] < one["loss"][0]
