"""Flags and flag files: values, origins of mistakes, round trips."""

import dataclasses
import os
import subprocess
import sys

import pytest

from ptxtf import config, flags
from ptxtf.errors import InputError
from ptxtf.training import ensemble

REQUIRED = ["--dicom_dir=films", "--annotations=labels.csv"]


def parse(*argv, kind=config.ConvertConfig):
    instances, rest = flags.parse(argv, kind)
    return instances[0], rest


def test_values_have_the_fields_types():
    parsed, rest = parse(*REQUIRED, "--fractions=0.5,0.25,0.25", "--strict", "--num_shards", "3", "extra.dcm")
    assert (parsed.dicom_dir, parsed.annotations) == ("films", "labels.csv")
    assert (parsed.fractions, parsed.strict, parsed.num_shards) == ((0.5, 0.25, 0.25), True, 3)
    assert rest == ["extra.dcm"]


def test_what_is_not_given_keeps_the_default():
    assert parse(*REQUIRED)[0] == config.ConvertConfig(dicom_dir="films", annotations="labels.csv")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--dicom_folder=x"], "command line: expected a known flag .* Received: --dicom_folder"),
        (
            [*REQUIRED, "--split=random"],
            "command line: expected one of patient, paper, kfold. Received: --split=random",
        ),
        ([*REQUIRED, "--num_shards=many"], "command line: expected a whole number. Received: --num_shards=many"),
        ([*REQUIRED, "--seed=5000000000"], "expected seed, an integer in 0..4294967295. Received: seed=5000000000"),
        ([*REQUIRED, "--strict=perhaps"], "command line: expected true or false. Received: --strict=perhaps"),
        ([*REQUIRED, "--nostrict=1"], r"command line: expected --flag=value\. Received: .*nostrict"),
        ([*REQUIRED, "--num_shards=0"], "expected num_shards above 0. Received: num_shards=0"),
        ([*REQUIRED, "--fractions=0.5,0.6,0.1"], "three fractions .* add up to 1. Received: fractions="),
        ([*REQUIRED, "--mask_dir=x"], "expected --annotations, or --image_dir with --mask_dir"),
        (["--annotations=x.csv"], "expected --dicom_dir or --image_dir"),
        ([*REQUIRED, "--undefok=foo", "--foo=1"], "expected a known flag .* Received: --undefok"),
        (["--flagfile=nowhere.flags"], "command line: expected a flag file.*demo.flags.*Received: --flagfile=nowhere"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_flag(argv, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(*argv)
    assert "\n" not in str(caught.value)


def test_a_required_flag_that_is_missing_says_what_it_is_for():
    with pytest.raises(InputError, match=r"expected --output_dir: folder to write; .* Received: none"):
        flags.parse([], config.PhantomConfig)


def test_an_unknown_flag_in_a_file_is_named_with_file_and_line(tmp_path):
    recipe = tmp_path / "mine.flags"
    recipe.write_text("# head\n\n--dicom_dir=films\n--learning_speed=3\n")
    with pytest.raises(InputError, match=r"mine\.flags:4: expected a known flag .* Received: --learning_speed"):
        parse(f"--flagfile={recipe}")


def test_files_include_files_beside_them_and_later_flags_win(tmp_path):
    (tmp_path / "base.flags").write_text("--dicom_dir=a\n--annotations=b\n--seed=1\n--num_shards=2\n")
    (tmp_path / "mine.flags").write_text("--flagfile=base.flags\n--seed=5\n")
    parsed, _ = parse("--flagfile", str(tmp_path / "mine.flags"), "--num_shards=7")
    assert (parsed.dicom_dir, parsed.seed, parsed.num_shards) == ("a", 5, 7)


def test_a_file_that_includes_itself_is_refused(tmp_path):
    (tmp_path / "loop.flags").write_text("--flagfile=loop.flags\n")
    with pytest.raises(InputError, match="do not include themselves"):
        parse(f"--flagfile={tmp_path / 'loop.flags'}")


def test_a_flag_file_brings_back_the_very_settings(tmp_path):
    settings = config.RunConfig(
        config.InputConfig(records_dir="with space", val_split="", image_size=96),
        config.TrainConfig(run_dir="r", first_sizes=(64, 96)),
        config.PreprocessConfig(clahe=False, rotation_degrees=(5.0, 10.0), mode="patch"),
        config.ModelConfig(decoder_filters=(9, 8, 7, 6, 5)),
        config.LossConfig(lovasz_weight=2.0),
        config.OptimizerConfig(learning_rate=3e-5),
    )
    path = tmp_path / "run.flags"
    path.write_text(flags.to_flagfile(*settings))
    assert tuple(flags.parse([f"--flagfile={path}"], *config.RUN)[0]) == settings


RECIPES = sorted(path.name for path in flags.RECIPES.glob("*.flags"))


@pytest.mark.parametrize("recipe", [name for name in RECIPES if not name.startswith("ensemble_")])
def test_every_recipe_is_understood(recipe):
    flags.parse([f"--flagfile={recipe}", "--records_dir=r", "--run_dir=d"], *config.RUN)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name.startswith("ensemble_")])
def test_every_recipe_of_an_ensemble_is_understood(recipe):
    (parsed, _), _ = flags.parse(
        [f"--flagfile={recipe}", "--records_dir=r", "--output_dir=d"], config.EnsembleConfig, config.InferenceConfig
    )
    for part in ensemble.parts(parsed):
        flags.parse(part.train, *config.RUN)


STUDY = [
    (name, mode)
    for name in ("vgg16", "vgg19", "resnet34", "resnet50", "densenet121", "inceptionv3")
    for mode in ("whole", "patch")
]


@pytest.mark.parametrize(("backbone", "mode"), STUDY)
def test_the_study_s_recipes_have_its_hyper_parameters(backbone, mode):
    argv = [f"--flagfile={backbone}_{mode}.flags", "--records_dir=r", "--run_dir=d"]
    inputs, training, preprocessing, network, loss, optimizer = flags.parse(argv, *config.RUN)[0]
    assert (network.backbone, network.weights, network.input_scaling) == (backbone, "imagenet", "paper")
    assert (preprocessing.mode, preprocessing.patch_size) == (mode, 128)
    assert (inputs.image_size, inputs.batch_size, inputs.val_split) == (512, 8, "")
    assert (training.epochs, optimizer.learning_rate, optimizer.schedule) == (75, 1e-3, "constant")
    assert (loss.focal_weight, loss.dice_weight, loss.focal_alpha, loss.focal_gamma) == (1, 1, 0.25, 2)
    assert preprocessing.clahe
    assert preprocessing.rotation_degrees == (0, 20)
    assert (preprocessing.zoom, preprocessing.brightness, preprocessing.flip_probability) == (0.10, 0.15, 0.5)


def test_help_tells_every_flag_with_its_default():
    text = flags.help_text("python -m x", "What it does.", [config.PhantomConfig])
    for field in dataclasses.fields(config.PhantomConfig):
        assert f"--{field.name}" in text
        assert field.metadata["help"].split()[0] in text
    assert "(required)" in text
    assert "(default: 240)" in text


COMMANDS = [
    "ptxtf.train",
    "ptxtf.ensemble",
    "ptxtf.evaluate",
    "ptxtf.compare",
    "ptxtf.predict",
    "ptxtf.export",
    "ptxtf.serve",
    "tools.make_phantoms",
    "tools.make_tfrecords",
    "tools.check_tfrecords",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_no_tensorflow_and_exits_with_0(command):
    probe = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{command}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m {command}")


def test_a_bad_flag_ends_with_status_2_and_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "ptxtf.train", "--flagfile=demo.flags", "--lerning_rate=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "ptxtf.train: command line: expected a known flag (see --help). Received: --lerning_rate\n"


@pytest.mark.parametrize(("setting", "is_on"), [({}, True), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False)])
def test_commands_compute_by_onednn_unless_told_otherwise(setting, is_on):
    probe = "from ptxtf import flags\ndef main(): import tensorflow\nflags.run(main)"
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "0"} | setting,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("oneDNN custom operations are on" in done.stderr) == is_on  # TensorFlow's own words
