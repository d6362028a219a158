"""The training loop: it learns, it can be stopped anywhere, and its settings do what they say."""

import csv
import itertools
import shutil
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf import config, devices, preprocess, rundir
from ptxtf.data import dataset
from ptxtf.errors import InputError
from ptxtf.inference import Predictor
from ptxtf.models.weights import load_model
from ptxtf.training import history, losses, metrics, setup

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 on NumPy 2.4, when it saves weights
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def network(*_settings, size=None) -> keras.Model:
    """Return a network that trains in no time: two convolutions and a batch normalization."""
    images = keras.Input((size, size, 1))
    x = keras.layers.Conv2D(8, 5, padding="same", activation="relu", name="one")(images)
    x = keras.layers.BatchNormalization(name="two")(x)
    return keras.Model(images, keras.layers.Conv2D(1, 5, padding="same", dtype="float32", name="three")(x))


def weights(run_dir) -> list[np.ndarray]:
    return load_model(run_dir / "model.keras").get_weights()


def rows(run_dir) -> list[dict[str, float]]:
    with (run_dir / "history.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def without_time(history_rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history_rows]


def assert_same(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert without_time(rows(one)) == without_time(rows(other))


def test_a_run_leaves_what_rundir_says(finished):
    folder = finished()
    assert [row["epoch"] for row in rows(folder)] == [1, 2]
    assert list(rows(folder)[0]) == ["epoch", "loss", "val_loss", "val_dice", "val_positive_dice", "seconds"]
    for name in (rundir.FLAGS, rundir.MODEL, rundir.CURVES):
        assert (folder / name).stat().st_size > 0
    settings = rundir.read_flags(folder)
    assert settings.inputs.image_size == 64  # "as stored" is written out
    assert settings.training.epochs == 2
    assert not list(folder.rglob("*.part*"))


def test_tensorboard_gets_every_number_and_overlays(run):
    folder = run(overlays=2)
    tags = set()
    for path in (folder / "tensorboard").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {value.tag for value in event.summary.value}
    assert {"loss", "val_dice", "val_positive_dice", "truth blue, prediction orange"} <= tags
    assert {"precision and recall/pr_curves"} <= tags


def test_an_epoch_equals_a_plain_loop_written_out(run, records):
    folder = run(epochs=1, val_split="", focal_weight=2.0, learning_rate=3e-3)
    keras.utils.set_random_seed(0)
    model = network()
    optimizer = keras.optimizers.Adam(3e-3)
    still = config.PreprocessConfig(clahe=False, rotation_degrees=(0.0, 0.0), zoom=0.0, flip_probability=0.0)
    augment = preprocess.for_training(still)
    found = []
    for batch in dataset.Split(records, "train").batches(4, training=True, seed=0, epoch=0):
        images, masks = augment(batch["image"], batch["mask"], batch["seed"])
        with tf.GradientTape() as tape:
            logits = model(images[0], training=True)
            loss = losses.focal_dice(focal_weight=2.0)(masks[0], logits)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        found.append(float(loss))
    assert rows(folder)[0]["loss"] == pytest.approx(np.mean(found), rel=1e-4)
    for ours, plain in zip(weights(folder), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, plain, atol=2e-4)


def test_it_learns(run):
    found = [row["loss"] for row in rows(run(epochs=6, learning_rate=1e-2))]
    assert found == sorted(found, reverse=True)


def test_the_same_seed_gives_the_same_run_and_another_one_another(run, finished):
    one = finished("one")
    assert_same(one, run("two"))
    other = run("other", seed=1)
    assert any((a != b).any() for a, b in zip(weights(one), weights(other), strict=True))


def test_going_on_after_a_finished_run_equals_one_long_run(run, finished):
    finished("short")
    assert_same(finished("long", epochs=4), run("short", epochs=4))


@pytest.mark.parametrize("call", [1, 4])
def test_a_run_stopped_inside_an_epoch_ends_as_if_it_had_not_been(run, finished, calls_by, call):
    counts = []

    def stopping(real):
        def stop(*arguments):
            counts.append(1)
            if len(counts) == 3 + call:  # three calls an epoch: in the second epoch
                raise KeyboardInterrupt
            return real(*arguments)

        return stop

    with calls_by(stopping), pytest.raises(KeyboardInterrupt):
        run("stopped", epochs=4)
    assert_same(finished("whole", epochs=4), run("stopped", epochs=4))


def test_a_finished_run_is_left_as_it_is(run, finished):
    folder = finished()
    before = (folder / "history.csv").read_bytes()
    run()
    assert (folder / "history.csv").read_bytes() == before


def test_another_setting_needs_another_folder(run, finished):
    finished()
    with pytest.raises(
        InputError, match=r"run\.flags: expected --learning_rate=0\.001, as the run was started.*=0\.01"
    ):
        run(learning_rate=1e-2)


def test_a_run_may_go_on_with_other_memory_but_not_with_another_order(run):
    run(epochs=1, cache="decoded")
    run(epochs=1, cache="equalised")
    with pytest.raises(InputError, match=r"run\.flags: expected --cache=equalised, as the run was started.*=none"):
        run(epochs=1, cache="none")


def test_a_run_that_never_began_leaves_no_settings_behind(run, monkeypatch):
    def fail(*_settings):
        raise InputError("no such weights")

    monkeypatch.setattr(setup, "build_model", fail)
    with pytest.raises(InputError, match="no such weights"):
        run(weights="nowhere.h5", backbone="vgg16")
    monkeypatch.setattr(setup, "build_model", network)
    run(weights="none", backbone="tiny", epochs=1)


def test_the_final_model_is_the_best_epoch_s(run):
    folder = run(epochs=5, learning_rate=1e-2)
    best = min(rows(folder), key=lambda row: row["val_loss"])
    split = dataset.Split(rundir.read_flags(folder).inputs.records_dir, "val")
    predictor = Predictor.load(folder)
    scores = []
    for batch in split.batches(4, training=False):
        real = batch["image_id"].numpy() != b""
        predicted = predictor(batch["image"]) >= 0.5
        scores.extend(metrics.dice(batch["mask"], predicted).numpy()[real])
    assert np.mean(scores) == pytest.approx(best["val_dice"], abs=1e-5)


def test_without_validation_the_last_epoch_is_kept(run):
    folder = run(val_split="")
    assert list(rows(folder)[0]) == ["epoch", "loss", "seconds"]
    assert [path.name for path in (folder / rundir.EPOCHS).iterdir()] == [rundir.weights_name(2)]
    assert (folder / rundir.MODEL).exists()


def test_host_and_device_preprocessing_train_alike(run):
    moving = {"clahe": True, "rotation_degrees": (0.0, 20.0), "zoom": 0.1, "flip_probability": 0.5}
    device, host = (rows(run(side, preprocess_on=side, **moving)) for side in ("device", "host"))
    for one, other in zip(device, host, strict=True):
        assert one["loss"] == other["loss"]


def test_patch_mode_steps_once_per_patch_and_scores_whole_images(run, calls_by, monkeypatch):
    model = network(size=32)  # takes patches alone
    monkeypatch.setattr(setup, "build_model", lambda *_: model)
    steps = []

    def spy(train):
        return lambda batches: (losses := train(batches), steps.append(len(losses)))[0]

    with calls_by(spy):
        folder = run(mode="patch", patch_size=32, epochs=1)
    assert steps == [4, 4, 4]
    assert Predictor.load(folder)(tf.zeros([1, 64, 64, 1], tf.uint8)).shape == (1, 64, 64, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": "fpn", "upsampling": "transposed"}, "no upsampling with decoder=fpn, .*upsampling='transposed'"),
        ({"decoder": "unet_plus_plus", "attention": "scse"}, "no attention with decoder=unet_plus_plus, .*'scse'"),
        (
            {"decoder": "deeplab_v3plus", "decoder_filters": (8,) * 5},
            "no decoder_filters with decoder=deeplab_v3plus, ",
        ),
    ],
    ids=str,
)
def test_settings_that_a_decoder_would_ignore_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^expected {message}"):
        config.ModelConfig(**settings)
    assert config.ModelConfig(decoder=settings["decoder"])


def test_a_rate_for_a_frozen_encoder_is_refused(run):
    with pytest.raises(InputError, match=r"expected no encoder_rate with freeze_encoder\. Received: encoder_rate=0\.1"):
        run(freeze_encoder=True, encoder_rate=0.1)


def test_the_precision_is_chosen_once_for_a_run(run, monkeypatch, capsys):
    """On whichever machine it goes on, it is that of the first one."""
    monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
    folder = run(epochs=1, precision="auto")
    assert rundir.read_flags(folder).network.precision == "mixed_bfloat16"
    assert f"{folder}: --precision=mixed_bfloat16, --xla=off, 1 device\n" in capsys.readouterr().out
    monkeypatch.setattr(devices, "has_bfloat16", lambda: False)
    run(epochs=2, precision="auto")
    assert rundir.read_flags(folder).network.precision == "mixed_bfloat16"
    with pytest.raises(InputError, match=r"expected --precision=mixed_bfloat16, as the run was started.*=float32"):
        run(epochs=2, precision="float32")


def test_an_unknown_backbone_is_one_clear_line():
    settings = config.ModelConfig(backbone="resnet33")
    message = r"did you mean .*resnet34.*\? expected backbone of vgg16, .* Received: backbone='resnet33'"
    with pytest.raises(InputError, match=message):
        setup.build_model(settings, config.LossConfig())


def test_history_forgets_epochs_that_were_not_finished(tmp_path):
    assert history.read(tmp_path, epochs=0) == []
    history.write(tmp_path, [{"epoch": e, "loss": 1 / e, "seconds": 1} for e in (1, 2, 3)])
    assert [row["epoch"] for row in history.read(tmp_path, epochs=2)] == [1, 2]


@pytest.mark.parametrize("replaced", [3, 4], ids=["one more", "one in the place of another"])
def test_a_history_of_other_columns_is_one_clear_line(run, finished, replaced):
    folder = finished()
    table = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    changed = [[*row[:3], own, *row[replaced:]] for own, row in zip(("mine", "7", "7"), table, strict=True)]
    (folder / "history.csv").write_text("".join(",".join(row) + "\n" for row in changed))
    with pytest.raises(InputError, match=r"history\.csv: expected the columns epoch, loss, .* Received: .*mine"):
        run(epochs=3)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "epoch,loss,seconds\n1,0.5,9\n",
        "epoch,loss,seconds\n1,0.5,9\n2,abc,9\n",
        "a,b\n1,2\n3,4\n",
        f'a\n"{"x" * 200_000}',
    ],
)
def test_a_damaged_history_is_one_clear_line(tmp_path, content):
    if content is not None:
        (tmp_path / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history\.csv: expected a .* Received: "):
        history.read(tmp_path, epochs=2)


def test_more_epochs_than_asked_for_are_said(run, finished):
    folder = finished()
    before = (folder / rundir.FLAGS).read_text()
    with pytest.raises(InputError, match=r"expected --epochs of at least 2\. Received: --epochs=1"):
        run(epochs=1)
    assert (folder / rundir.FLAGS).read_text() == before


def best(run_dir):
    (path,) = (run_dir / rundir.EPOCHS).iterdir()
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: best(run).write_bytes(b"junk"), r"epoch-0000\d\.weights\.h5: expected the weights of an epoch"),
        (lambda run: best(run).unlink(), r"epoch-0000\d\.weights\.h5: expected the weights of an epoch"),
    ],
)
def test_a_damaged_run_is_one_clear_line(run, finished, damage, message):
    damage(finished())
    with pytest.raises(InputError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


def test_events_that_cannot_be_written_are_one_clear_line(run, finished):
    events = finished() / rundir.TENSORBOARD
    shutil.rmtree(events)
    events.write_text("a file")
    with pytest.raises(InputError, match=r"tensorboard: expected a folder for events\. Received: "):
        run(epochs=3)


def test_a_folder_that_vanishes_ends_the_run(run, tmp_path, calls_by):
    def vanishing(train):
        calls = itertools.count(1)

        def call(batches):
            if next(calls) == 5:  # in the second epoch
                shutil.rmtree(tmp_path / "run")
            return train(batches)

        return call

    with (
        calls_by(vanishing),
        pytest.raises(InputError, match=r"run: expected the run's folder to stay while it goes on"),
    ):
        run(epochs=3)


def test_a_run_does_not_go_on_with_other_images(run, finished):
    folder = finished()
    listed = rundir.read_trained_on(folder)
    assert [image.used for image in listed] == ["train"] * 12 + ["val"] * 6
    rundir.write_trained_on(folder, listed[1:])  # as if the records had been others
    with pytest.raises(
        InputError, match=r"expected the images that the run was begun with, .*trained_on\.json lists them"
    ):
        run(epochs=3)


def test_what_killed_processes_left_among_the_epochs_is_swept(run, finished):
    folder = finished()
    leftover = folder / rundir.EPOCHS / f".epoch-00003.weights.h5.{socket.gethostname()}.4194304.part.weights.h5"
    leftover.write_bytes(b"half")
    run(epochs=3)
    assert not leftover.exists()


def spoil(run_dir, epoch):
    next((run_dir / "checkpoints").glob(f"ckpt-{epoch}.data*")).write_bytes(b"junk")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(run, finished, capsys):
    spoil(finished("damaged"), 2)
    assert_same(finished("whole", epochs=4), run("damaged", epochs=4))
    said = capsys.readouterr().out
    assert "ckpt-2: expected a whole checkpoint of this network. Received: " in said
    assert "going on after epoch 1 of 4" in said


def test_damaged_checkpoints_are_one_clear_line(run, finished):
    folder = finished()
    spoil(folder, 1)
    spoil(folder, 2)
    with pytest.raises(InputError, match=r"ckpt-2: expected a whole checkpoint of this network\. Received: ") as caught:
        run(epochs=3)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_counts_once_its_index_is_there(run, finished):
    """TensorFlow's own note of the newest one may be gone or torn: the run was killed before it was written."""
    folder = finished("torn")
    (folder / "checkpoints" / "checkpoint").write_text("torn")
    (folder / "checkpoints" / "ckpt-3.data-00000-of-00001").write_bytes(b"torn")
    assert_same(finished("whole", epochs=4), run("torn", epochs=4))


def test_damaged_records_are_named(run, records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    shard = copy / "train-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"copy: expected whole records; .*tools\.check_tfrecords.* Received: "):
        run(records_dir=str(copy))


def test_a_checkpoint_of_another_network_is_one_clear_line(run, finished, monkeypatch):
    finished()
    images = keras.Input((None, None, 1))
    monkeypatch.setattr(setup, "build_model", lambda *_: keras.Model(images, keras.layers.Conv2D(1, 1)(images)))
    with pytest.raises(InputError, match=r"expected a whole checkpoint of this network\. Received: ") as caught:
        run(epochs=3)
    assert "\n" not in str(caught.value)
