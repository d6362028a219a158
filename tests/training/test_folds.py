"""Cross-validation over phantoms: who trains and validates where, and the table."""

import csv

import keras
import pytest

from ptxtf import config, rundir
from ptxtf.data.convert import convert
from ptxtf.errors import InputError
from ptxtf.training import folds, loop, setup

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 on NumPy 2.4, when it saves weights
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def settings(records, run_dir, **training):
    return config.RunConfig(
        config.InputConfig(records_dir=str(records), batch_size=4),
        config.TrainConfig(run_dir=str(run_dir), epochs=1, overlays=0, cross_validate=True, **training),
        config.PreprocessConfig(clahe=False, rotation_degrees=(0.0, 0.0), zoom=0.0, flip_probability=0.0),
        config.ModelConfig(precision="float32"),
    )


def network(*_settings) -> keras.Model:
    images = keras.Input((None, None, 1))
    return keras.Model(images, keras.layers.Conv2D(1, 5, padding="same", name="logits")(images))


def test_each_fold_validates_once(conversion, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "build_model", network)
    convert(conversion(split="kfold", folds=3))
    folder = folds.train(settings(tmp_path / "records", tmp_path / "runs"))
    with (folder / folds.TABLE).open(newline="") as file:
        *table, mean = csv.DictReader(file)
    assert [row["fold"] for row in table] == ["fold0", "fold1", "fold2"]
    for number, row in enumerate(table):
        inputs = rundir.read_flags(folder / f"fold{number}").inputs
        others = [f"fold{other}" for other in range(3) if other != number]
        assert (inputs.val_split, inputs.train_split) == (f"fold{number}", "+".join(others))
        with (folder / f"fold{number}" / rundir.HISTORY).open(newline="") as file:
            (epoch,) = csv.DictReader(file)
        assert float(row["val_loss"]) == float(epoch["val_loss"])
    assert float(mean["val_loss"]) == pytest.approx(sum(float(row["val_loss"]) for row in table) / 3, rel=1e-5)


def test_the_best_epoch_of_each_fold_is_in_the_table(tmp_path, monkeypatch, conversion):
    convert(conversion(split="kfold", folds=2))

    def train(run):
        folder = tmp_path / "runs" / run.inputs.val_split
        folder.mkdir(parents=True)
        head = "epoch,loss,val_loss,val_dice,val_positive_dice,seconds"
        (folder / "history.csv").write_text(f"{head}\n1,3,2,.5,.5,9\n2,2,1,.5,.5,9\n3,1,4,.5,.5,9\n")
        return folder

    monkeypatch.setattr(loop, "train", train)
    folder = folds.train(settings(tmp_path / "records", tmp_path / "runs"))
    assert (folder / folds.TABLE).read_text().splitlines() == [
        "fold,epoch,loss,val_loss,val_dice,val_positive_dice",
        "fold0,2,2,1,0.5,0.5",
        "fold1,2,2,1,0.5,0.5",
        "mean,2,2,1,0.5,0.5",
    ]


def test_records_without_folds_are_one_clear_line(records, tmp_path):
    with pytest.raises(
        InputError, match=r"expected records made with --split=kfold\. Received: splits train, val, test"
    ):
        folds.train(settings(records, tmp_path / "runs"))


def test_splits_of_one_s_own_are_refused(records, tmp_path):
    config_ = settings(records, tmp_path / "runs")
    config_ = config_._replace(inputs=config.InputConfig(records_dir=str(records), val_split="test"))
    with pytest.raises(InputError, match=r"expected no --train_split and --val_split with --cross_validate"):
        folds.train(config_)
