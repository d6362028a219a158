"""What the loop's settings do to a run, seen from outside: in its files, its weights and what it prints."""

import csv
import itertools
import pathlib
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf import files, rundir
from ptxtf.data import dataset
from ptxtf.errors import InputError
from ptxtf.models.weights import load_model
from ptxtf.training import epochs, metrics, setup

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 on NumPy 2.4, when it saves weights
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def network(*_settings) -> keras.Model:
    """Return a network with an encoder of five strides, no more than a few weights."""
    images = keras.Input((None, None, 1))
    x, pyramid = images, {}
    for stage in range(1, 6):
        x = keras.layers.Conv2D(2, 3, strides=2, padding="same", activation="swish", name=f"stage{stage}")(x)
        pyramid[f"P{stage}"] = x
    encoder = keras.Model(images, pyramid, name="encoder")
    maps = encoder(images)
    x = keras.layers.Add()([keras.layers.UpSampling2D(2**level)(maps[f"P{level}"]) for level in range(1, 6)])
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(images, keras.layers.Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x))


def rows(run_dir) -> list[dict[str, float]]:
    with (run_dir / "history.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def epochs_kept(run_dir) -> list[int]:
    return sorted(int(path.name[6:11]) for path in (run_dir / rundir.EPOCHS).iterdir())


def after(run_dir, epoch) -> dict[str, np.ndarray]:
    """Return the network's weights after an epoch, by layer and name."""
    model = network()
    model.load_weights(run_dir / rundir.EPOCHS / rundir.weights_name(epoch))
    return {weight.path: weight.numpy() for weight in model.weights}


def spy_on_losses(monkeypatch, losses):
    """Let validation find these losses, one an epoch."""
    values = iter(losses)
    one, none = tf.constant(1.0), tf.constant(0.0)
    pixels = tf.zeros([2, metrics.STEPS], tf.int64)
    monkeypatch.setattr(epochs, "validate", lambda *_: metrics.Totals(one, none, none, none, next(values), pixels))


def test_patience(run, monkeypatch):
    spy_on_losses(monkeypatch, [3.0, 1.0, 2.0, 1.5, 9.0])
    folder = run(epochs=5, patience=2)
    assert [row["val_loss"] for row in rows(folder)] == [3, 1, 2, 1.5]
    assert epochs_kept(folder) == [2]


def test_a_plateau_lowers_the_learning_rate(run, monkeypatch):
    spy_on_losses(monkeypatch, [1.0, 1.0, 1.0, 1.0, 1.0])
    seen = []
    real = epochs.train
    monkeypatch.setattr(epochs, "train", lambda run, *rest: (seen.append(float(run.rate.factor)), real(run, *rest))[1])
    run(epochs=5, schedule="plateau", plateau_epochs=2, plateau_factor=0.5)
    assert seen == [1, 1, 1, 0.5, 0.5]


@pytest.mark.parametrize(("keep", "kept"), [("best", [2, 4]), ("last", [4, 5])])
def test_the_final_model_is_the_mean_of_the_epochs_chosen(run, monkeypatch, keep, kept):
    spy_on_losses(monkeypatch, [3.0, 1.0, 4.0, 2.0, 5.0])
    folder = run(epochs=5, keep=keep, average=2, learning_rate=1e-2)
    assert epochs_kept(folder) == kept
    model = load_model(folder / "model.keras")
    kernels = []
    for epoch in kept:
        model.load_weights(folder / rundir.EPOCHS / rundir.weights_name(epoch))
        kernels.append(model.get_layer("logits").get_weights())
    final = load_model(folder / "model.keras")
    for value, parts in zip(final.get_layer("logits").get_weights(), zip(*kernels, strict=True), strict=True):
        np.testing.assert_allclose(value, np.mean(parts, axis=0), rtol=1e-5)
        assert not np.allclose(*parts)
    # its statistics are those of its own features, not a mean of statistics
    mean = np.mean([after(folder, epoch)["norm/moving_mean"] for epoch in kept], axis=0)
    assert not np.allclose(final.get_layer("norm").moving_mean, mean, rtol=1e-3)


def test_a_frozen_encoder_thaws_stage_by_stage(run):
    folder = run(epochs=4, freeze_epochs=(1, 2, 3), keep="last", average=4, learning_rate=1e-2)
    keras.utils.set_random_seed(0)  # as the run begins
    found = [{weight.path: weight.numpy() for weight in network().weights}]
    found += [after(folder, epoch) for epoch in (1, 2, 3, 4)]
    moved = [
        [stage for stage in range(1, 6) if (before[f"stage{stage}/kernel"] != later[f"stage{stage}/kernel"]).any()]
        for before, later in itertools.pairwise(found)
    ]
    assert moved == [[], [5], [4, 5], [1, 2, 3, 4, 5]]
    # Adam's first steps are about the learning rate, whenever they are taken: here three in the first epoch of each
    for stage, epoch in ((5, 2), (4, 3), (1, 4)):
        change = np.abs(found[epoch][f"stage{stage}/kernel"] - found[epoch - 1][f"stage{stage}/kernel"])
        assert 1e-2 < change.max() < 3.1e-2


def test_steps_of_one_call_are_the_same_steps(run, finished, calls_by):
    one = finished("one")
    counts = []

    def spy(train):
        return lambda batches: (counts.append(len(batches)), train(batches))[1]

    with calls_by(spy):
        both = run("both", steps_per_call=2)
    assert counts == [2, 1, 2, 1]
    for ours, theirs in zip(rows(one), rows(both), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6)
    for name, value in after(one, 2).items():
        np.testing.assert_allclose(value, after(both, 2)[name], rtol=1e-4, atol=1e-6)


def test_data_services_change_nothing(run, finished, services):
    plain = finished("plain")
    with services(2) as (_, addresses):
        served = run("served", data_service=tuple(addresses))
    for name, value in after(plain, 2).items():
        np.testing.assert_array_equal(value, after(served, 2)[name])
    with pytest.raises(InputError, match=rf"^{addresses[0]}: expected a data service"):  # which it does need
        run("served", epochs=3, data_service=tuple(addresses))


def test_images_grow(run, calls_by):
    sizes = []

    def spy(train):
        return lambda batches: (sizes.append(batches[0][0].shape[1]), train(batches))[1]

    with calls_by(spy):
        folder = run(epochs=4, first_sizes=(32, 96), size_epochs=1)
    assert sizes == [32] * 3 + [96] * 3 + [64] * 6
    assert rundir.read_flags(folder).inputs.image_size == 64


def test_moving_averages_are_what_is_validated_and_kept(run):
    plain, averaged = run("plain", keep="last"), run("averaged", keep="last", ema=0.9)
    assert [row["loss"] for row in rows(plain)] == [row["loss"] for row in rows(averaged)]  # it trains alike
    assert rows(plain)[-1]["val_loss"] != rows(averaged)[-1]["val_loss"]
    assert (after(plain, 2)["logits/kernel"] != after(averaged, 2)["logits/kernel"]).any()


def test_a_batch_in_parts_takes_the_same_step(run, monkeypatch):
    """But for batch statistics, which are each part's; so this network has none."""

    def plain(*_):
        images = keras.Input((None, None, 1))
        return keras.Model(images, keras.layers.Conv2D(1, 5, padding="same", name="logits")(images))

    monkeypatch.setattr(setup, "build_model", plain)
    whole, parts = run("whole"), run("parts", accumulate=2)
    for one, other in zip(rows(whole), rows(parts), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    with pytest.raises(InputError, match=r"expected --batch_size of a multiple of 3, .*Received: --batch_size=4"):
        run("odd", accumulate=3)


def test_shares_of_positives_reach_the_batches(run, calls_by):
    shares = []

    def spy(train):
        def noted(batches):
            ((_, masks, _),) = batches
            shares.append(masks.numpy().any(axis=(1, 2, 3)).mean())
            return train(batches)

        return noted

    with calls_by(spy):
        run(epochs=3, positive_share=(1.0, 0.0))
    assert shares == [1.0] * 3 + [0.5] * 3 + [0.0] * 3


def test_a_dry_run_says_what_an_epoch_takes_and_writes_nothing(run, capsys):
    folder = run(dry_run=True)
    assert not folder.exists()
    said = capsys.readouterr().out
    assert "an epoch of 3 steps" in said
    assert "GiB at most" in said


def test_a_loss_that_is_no_number_names_the_images_and_keeps_the_last_state(run, calls_by, records):
    folder = run(epochs=1, keep="last")
    factors = iter([1.0, float("nan"), 1.0])
    message = r"Received: loss=nan at step 2 of epoch 2, images (.*)$"
    with (
        calls_by(lambda train: lambda batches: train(batches) * next(factors)),
        pytest.raises(InputError, match=message) as caught,
    ):
        run(epochs=2, keep="last")
    batch = next(iter(dataset.Split(records, "train").epochs(4, seed=0, first=1).skip(1)))
    ids = [one.decode() for one in batch["image_id"].numpy()]
    assert str(caught.value).endswith(f"images {', '.join(ids)}")
    assert [path.name for path in rundir.checkpoints(folder)] == ["ckpt-1"]


def test_a_dry_run_tells_a_loss_that_is_no_number(run):
    with pytest.raises(InputError, match=r"expected a loss that is a number; .* Received: \[.*(nan|inf)"):
        run(dry_run=True, learning_rate=1e30)


def test_a_file_as_folder_is_refused_before_anything_is_built(run, tmp_path):
    (tmp_path / "run").write_text("a file")
    for settings in ({}, {"dry_run": True}):
        with pytest.raises(InputError, match=r"run: expected a folder as --run_dir\. Received: a file"):
            run(**settings)


def test_epochs_are_not_chosen_by_positives_where_there_are_none(run, monkeypatch):
    monkeypatch.setattr(dataset.shards.Manifest, "positives", lambda _, split: 6 * (split == "train"))
    with pytest.raises(InputError, match=r"expected images with a pneumothorax in --val_split=val for --keep=dice"):
        run(keep="dice")


def test_one_process_a_folder(run, tmp_path):
    (tmp_path / "run").mkdir()
    with files.locked(tmp_path / "run"), pytest.raises(InputError, match="expected a folder that no other process"):
        run()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_split": "", "patience": 2}, "expected a --val_split for --patience, --keep=dice and --sched"),
        ({"val_split": "", "keep": "dice"}, "expected a --val_split for --patience, --keep=dice and --sched"),
        ({"val_split": "", "schedule": "plateau"}, "expected a --val_split for --patience, --keep=dice and --sched"),
        ({"mode": "patch", "first_sizes": (32,)}, r"expected no first_sizes with mode=patch\. Received: .*32"),
        ({"first_sizes": (32,)}, r"expected --epochs above 10, where --first_sizes end\. Received: epochs=2"),
        ({"freeze_epochs": (1, 2)}, r"expected --epochs above 2, where --freeze_epochs end\. Received: epochs=2"),
        ({"train_split": "train+val"}, r"expected a --val_split that is not trained on\. Received: val in both"),
        ({"batch_size": 99}, r"expected at least --batch_size=99 images in the training split\. Received: 12"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together(run, settings, message):
    with pytest.raises(InputError, match=message):
        run(**settings)


TRAIN = """
import sys
from ptxtf import config
from ptxtf.training import loop, setup
sys.path.insert(0, sys.argv[1])
import test_settings
setup.build_model = test_settings.network
records, run_dir, limit = sys.argv[2:]
if int(limit):
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
loop.train(config.RunConfig(
    config.InputConfig(records_dir=records, batch_size=4),
    config.TrainConfig(run_dir=run_dir, epochs=15, overlays=0),
    config.PreprocessConfig(clahe=False),
    config.ModelConfig(precision="float32"),
    optimizer=config.OptimizerConfig(ema=0.9, schedule="cosine"),
))
"""


def start(records, run_dir, *, limit=0, stderr=subprocess.DEVNULL):
    command = [sys.executable, "-c", TRAIN, str(pathlib.Path(__file__).parent), str(records), str(run_dir), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, text=True)


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(records, tmp_path):
    assert start(records, tmp_path / "whole").wait(400) == 0
    killed = 0
    while killed < 3:
        process = start(records, tmp_path / "killed")
        begun = rundir.checkpoints(tmp_path / "killed")
        while process.poll() is None and rundir.checkpoints(tmp_path / "killed") == begun:
            time.sleep(0.01)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert start(records, tmp_path / "killed").wait(400) == 0
    for one, other in zip(rows(tmp_path / "whole"), rows(tmp_path / "killed"), strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    whole, again = (load_model(tmp_path / name / "model.keras").get_weights() for name in ("whole", "killed"))
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (tmp_path / "whole" / rundir.RULE).read_text() == (tmp_path / "killed" / rundir.RULE).read_text()


@pytest.mark.slow
def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_room(records, tmp_path):
    _, said = start(records, tmp_path / "full", limit=20_000, stderr=subprocess.PIPE).communicate(timeout=400)
    assert re.search(
        r"\nptxtf\.errors\.InputError: .*: expected room; the last checkpoint stays, .* Received: .+\n$", said
    )
    assert not (tmp_path / "full" / "model.keras").exists()
    assert start(records, tmp_path / "full").wait(400) == 0
    assert len(rows(tmp_path / "full")) == 15


def test_a_checkpoint_that_cannot_be_written_is_one_clear_line(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("no folder")
    with pytest.raises(InputError, match=r"checkpoints: expected room; the last checkpoint stays") as caught:
        run()
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_one_clear_line(records):
    command = [sys.executable, "-m", "ptxtf.train", f"--records_dir={records}", "--run_dir=/proc/run", "--weights=none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "ptxtf.train: /proc/run: expected a path that can be used. Received: "
    )
    assert "Traceback" not in done.stderr


def test_weights_that_are_no_numbers_are_not_kept(run):
    with pytest.raises(
        InputError, match=r"expected weights that are numbers after epoch 1; .* and \d+ others that are not"
    ):
        run(epochs=1, weight_decay=1e38, learning_rate=100.0, batch_size=12)


def test_a_finished_run_without_checkpoints_is_not_begun_anew(run, finished):
    folder = finished()
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"expected the checkpoints of the run that ended in model\.keras"):
        run()


def test_odd_files_among_the_checkpoints(run, finished):
    folder = finished()
    (folder / "checkpoints" / "ckpt-3 (copy).index").write_text("")
    (folder / "checkpoints" / "checkpoint").write_bytes(bytes(range(128, 256)))
    assert len(rows(run(epochs=3))) == 3
