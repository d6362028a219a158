"""Ensembles by one command: in small size the systems of Wang and of Abedalla, and what goes wrong."""

import csv
import json

import numpy as np
import pytest

from ptxtf import config, flags
from ptxtf.config import EnsembleConfig, InferenceConfig
from ptxtf.errors import InputError
from ptxtf.inference import Predictor, cases, choice, choose_rule
from ptxtf.inference.predictor import Film
from ptxtf.training import ensemble, processes

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = ["--weights=none", "--epochs=1", "--image_size=64", "--batch_size=4"]
SYSTEMS = {
    "wang_2020": (
        ["unet_seresnext50", "unet_seresnext101", "unet_efficientnetb3", "unet_efficientnetb5",
         "deeplab_v3plus_seresnext50"],
        "classifier_seresnext50",
    ),
    "abedalla_2021": (["unet_resnet50", "unet_densenet169", "unet_seresnext50", "unet_efficientnetb4"], ""),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_published_system_is_trained_joined_scored_and_applied(system, records, phantoms, tmp_path, capsys):
    networks, classifier = SYSTEMS[system]
    folder = tmp_path / "system"
    given = [f"--flagfile=ensemble_{system}.flags", f"--records_dir={records}", f"--output_dir={folder}"]
    recipe = tmp_path / "small.flags"  # the recipe, but in one size
    one_size = f"--first_sizes=\n--size_epochs={config.TrainConfig.size_epochs}\n"
    recipe.write_text(f"--flagfile={system}.flags\n{one_size}--average=1\n--keep=last\n")
    assert processes.run("ptxtf.ensemble", [*given, *SMALL, f"--recipe={recipe}"])
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(
        [*networks, *([classifier] if classifier else [])]
    )
    whole = Predictor.load(folder)
    dataset = cases.read(records, "val", image_size=whole.image_size).take(3)
    films = [Film(case["image_id"], case["image"], (64, 64)) for case in dataset.as_numpy_iterator()]
    images = np.stack([film.image for film in films])
    alone = []
    for name in networks:
        one = Predictor.load(folder / name)(images)
        if system == "abedalla_2021":  # mirrored too
            one = (one + Predictor.load(folder / name)(images[:, :, ::-1])[:, :, ::-1]) / 2
        alone.append(one)
    np.testing.assert_allclose(whole(images), np.mean(alone, axis=0), atol=1e-5)
    presence = [found.presence for _, found in whole.each(films, batch_size=2)]
    if classifier:
        gate = Predictor.load(folder / classifier)
        expected = [found.presence for _, found in gate.each(films, batch_size=3)]
        np.testing.assert_allclose(presence, expected, atol=1e-5)
    else:
        assert np.isnan(presence).all()

    if not classifier:
        return  # one of the two systems is scored and applied; it takes minutes
    for command, where in (("ptxtf.evaluate", "test"), ("ptxtf.predict", "found")):
        more = [f"--records_dir={records}", "--bootstrap=20"] if where == "test" else [str(phantoms / "dicom")]
        assert processes.run(command, [f"--run_dir={folder}", f"--output_dir={tmp_path / where}", *more])
    scored = json.loads((tmp_path / "test" / "scores.json").read_text())
    assert scored["rule"]["origin"] == "chosen on val"
    assert not [note for note in scored["notes"] if note.startswith("Leakage")]
    with (tmp_path / "found" / "submission.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 24
    capsys.readouterr()


@pytest.fixture
def joined(records, finished, tmp_path):
    """Return a function that joins the same run twice, in two folders, by settings of `InferenceConfig`."""

    def join(**asked):
        one, other = finished("one"), finished("other", epochs=1)
        settings = EnsembleConfig(
            records_dir=str(records), output_dir=str(tmp_path / "all"), run_dir=f"{one},{other}", **asked.pop("own", {})
        )
        return ensemble.join(settings, InferenceConfig(**asked)), tmp_path / "all", (one, other)

    return join


def network(model, loss):
    """Return the network of this module's runs."""
    import keras

    from ptxtf import models

    del model, loss
    keras.utils.set_random_seed(3)
    return models.unet("tiny", weights=None, decoder_filters=(8,) * 5, precision="float32")


def test_finished_runs_are_joined_as_they_are(joined, records):
    chosen, folder, (one, other) = joined(member_weights=(3.0, 1.0))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 1)).astype(np.uint8)
    expected = 0.75 * Predictor.load(one)(images) + 0.25 * Predictor.load(other)(images)
    np.testing.assert_allclose(Predictor.load(folder)(images), expected, atol=1e-6)
    assert np.abs(expected - Predictor.load(one)(images)).max() > 1e-4
    assert choose_rule(folder, records, "val") == chosen
    assert json.loads((folder / "rule.json").read_text())["split"] == "val"


def test_a_stopped_ensemble_goes_on_where_it_was(records, finished, tmp_path, monkeypatch):
    """Its commands are those of the first time; a run that is there is left to ptxtf.train, which goes on by itself."""
    settings = EnsembleConfig(
        records_dir=str(records), output_dir=str(tmp_path), networks=("unet/tiny", "fpn/tiny"), recipe="demo.flags"
    )
    calls = []

    def train(module, arguments):
        calls.append((module, tuple(arguments)))
        if len(calls) == 2:
            raise KeyboardInterrupt
        name = next(word for word in arguments if word.startswith("--run_dir=")).rpartition("/")[2]
        if not (tmp_path / name).exists():
            finished(name)
        return True

    monkeypatch.setattr(processes, "run", train)
    with pytest.raises(KeyboardInterrupt):
        ensemble.join(settings, InferenceConfig())
    assert not (tmp_path / "ensemble.flags").exists()
    ensemble.join(settings, InferenceConfig())
    assert calls[2:] == [calls[0], calls[1]]
    assert (tmp_path / "ensemble.flags").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"networks": ("unet/resnet43",)}, r"expected networks as decoder/backbone.* Received: unet/resnet43"),
        ({"networks": ("resnet34",)}, r"expected networks as decoder/backbone.* Received: resnet34"),
        ({"networks": ("unet/tiny",), "recipe": "none.flags"}, r"expected a flag file, or one of the recipes"),
        (
            {"networks": ("unet/tiny",), "split": "nothing"},
            r"expected a split of train, val, test\. Received: split='nothing'",
        ),
        (
            {"classifier": "tinny", "networks": ("unet/tiny",)},
            r"^did you mean tiny\? expected networks as",
        ),
        ({"networks": ("tiny/unet",)}, r"Received: tiny/unet"),
        ({"networks": ("unet/tiny",), "run_dir": "nowhere"}, r"nowhere/run\.flags: expected a run folder"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is(settings, message, records, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "run", lambda *_: pytest.fail("nothing is to be trained"))
    given = {"records_dir": str(records), "output_dir": str(tmp_path / "all"), "recipe": "demo.flags"} | settings
    with pytest.raises(InputError, match=message):
        ensemble.join(EnsembleConfig(**given), InferenceConfig())
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("decoder", ["fpn", "deeplab_v3plus", "unet_plus_plus", "classifier"])
def test_a_recipe_of_u_nets_serves_other_decoders(decoder):
    settings = EnsembleConfig(
        records_dir="r", output_dir="o", networks=(f"{decoder}/tiny",), recipe="kaggle_two_stage.flags", weights="none"
    )
    (part,) = ensemble.parts(settings)
    _, _, _, model, loss, _ = flags.parse(part.train, *config.RUN)[0]
    assert (model.decoder, model.backbone, model.weights) == (decoder, "tiny", "none")
    assert loss.is_of_images == (decoder == "classifier")


@pytest.mark.parametrize(
    ("own", "asked", "message"),
    [
        ({}, {"member_weights": (1.0, 2.0)}, r"expected --member_weights for 1 runs"),
        ({"classifier": "tiny"}, {"gate_dir": "x"}, r"expected no --gate_dir with --classifier"),
        ({}, {"gate_dir": "nowhere"}, r"nowhere/run\.flags: expected a run folder"),
    ],
)
def test_what_is_asked_of_networks_is_checked_before_they_are_trained(own, asked, message, records, monkeypatch):
    monkeypatch.setattr(processes, "run", lambda *_: pytest.fail("nothing is to be trained"))
    settings = {"records_dir": str(records), "output_dir": "nowhere", "recipe": "demo.flags"}
    with pytest.raises(InputError, match=message):
        ensemble.join(EnsembleConfig(**settings, networks=("unet/tiny",), **own), InferenceConfig(**asked))


def test_folders_that_are_no_place_for_an_ensemble_stay_as_they_are(joined, records, finished, tmp_path):
    one = finished("alone")
    settings = {"records_dir": str(records), "run_dir": str(one)}
    with pytest.raises(InputError, match=r"alone: expected a folder for an ensemble\. Received: that of a run"):
        ensemble.join(EnsembleConfig(**settings, output_dir=str(one)), InferenceConfig())
    with pytest.raises(InputError, match=r"alone: expected a run with --presence_weight"):
        ensemble.join(EnsembleConfig(**settings, output_dir=str(tmp_path / "x")), InferenceConfig(gate_dir=str(one)))
    with pytest.raises(InputError, match=r"expected a --split that no run was trained on\. Received: split=train, of"):
        ensemble.join(EnsembleConfig(**settings, output_dir=str(tmp_path / "x"), split="train"), InferenceConfig())
    (tmp_path / "rule.json").write_text("mine")
    with pytest.raises(
        InputError, match=r"rule\.json: expected a folder for an ensemble\. Received: a rule of another"
    ):
        ensemble.join(EnsembleConfig(**settings, output_dir=str(tmp_path)), InferenceConfig())
    with pytest.raises(InputError, match=r"a,b: expected a folder of an ensemble without a comma in its name"):
        ensemble.join(EnsembleConfig(**settings, output_dir=str(tmp_path / "a,b")), InferenceConfig())
    assert not (one / "ensemble.flags").exists()
    assert [path for name in ("x", "a,b") if (path := tmp_path / name).exists()] == []
    _, folder, _ = joined()
    nested = EnsembleConfig(records_dir=str(records), run_dir=str(folder), output_dir=str(tmp_path / "x"))
    with pytest.raises(InputError, match=r"expected runs as members of an ensemble\. Received: another ensemble"):
        ensemble.join(nested, InferenceConfig())
    (folder / "rule.json").unlink()
    with pytest.raises(InputError, match=r"rule\.json: expected a finished ensemble or --threshold"):
        choice.complete(config.MaskConfig(), folder)
    assert choice.complete(config.MaskConfig(threshold=0.25), folder).threshold == 0.25


def test_settings_of_training_without_a_network_to_train_are_refused():
    with pytest.raises(ValueError, match="no epochs with networks="):
        EnsembleConfig(records_dir="r", output_dir="o", run_dir="a", epochs=3)


def test_a_failed_training_ends_the_command(records, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "run", lambda *_: False)
    settings = EnsembleConfig(
        records_dir=str(records), output_dir=str(tmp_path / "all"), networks=("unet/tiny",), recipe="demo.flags"
    )
    with pytest.raises(InputError, match=r"unet_tiny: expected a network that can be trained"):
        ensemble.join(settings, InferenceConfig())
    assert not (tmp_path / "all" / "ensemble.flags").exists()


def test_an_ensemble_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected networks or run_dir"):
        EnsembleConfig(records_dir="r", output_dir="o")
