"""Remote paths do what pathlib does: each operation on ram://, which TensorFlow has built in, and on a local folder."""

import csv
import importlib.util
import io
import itertools
import pathlib
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ptxtf import files, flags, rundir
from ptxtf.config import (
    ConvertConfig,
    EvaluateConfig,
    InputConfig,
    MaskConfig,
    ModelConfig,
    PredictConfig,
    RunConfig,
    TrainConfig,
)
from ptxtf.data import check, convert
from ptxtf.errors import InputError
from ptxtf.evaluation.evaluate import evaluate
from ptxtf.inference.results import predict
from ptxtf.training import checkpoints, history, loop

pytestmark = pytest.mark.filterwarnings(
    # of Keras' own conversion of variables to NumPy
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

numbers = itertools.count()


@pytest.fixture
def remote() -> files.Remote:
    """Return an empty remote folder."""
    folder = files.path(f"ram://test-{next(numbers)}/folder")
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(params=["local", "remote"])
def folder(request, tmp_path):
    return tmp_path if request.param == "local" else request.getfixturevalue("remote")


def outcome(operation, folder):
    """Return what an operation gives, or how it fails, with the folder's own name taken out."""

    def plain(value):
        if isinstance(value, files.Path):
            return str(value).replace(str(folder).rstrip("/"), "FOLDER")
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    try:
        return plain(operation(folder))
    except OSError as error:
        return type(error), plain(files.path(str(error.filename)))


@pytest.mark.parametrize(
    "path",
    [
        lambda p: p / "a" / "b.txt",
        lambda p: p / "a/b.txt",
        lambda p: p / "a//./b/",
        lambda p: (p / "a" / "b.txt").name,
        lambda p: (p / "a.tar.gz").stem,
        lambda p: (p / "a.tar.gz").suffix,
        lambda p: (p / ".hidden").suffix,
        lambda p: (p / "a" / "b.txt").parent,
        lambda p: (p / "ckpt-3.index").with_suffix(""),
        lambda p: (p / "a.txt").with_suffix(".csv"),
        lambda p: (p / "a.txt").with_name(".b.txt"),
        lambda p: sorted([p / "b", p / "a.txt", p / "a" / "z", p / "a"]),
        lambda p: p / "a" == p / "b" / "../a",
        lambda p: p / "a" == p / "./a",
        lambda p: len({p / "a", p / "a", p / "b"}),
        lambda p: (p / "a").is_absolute(),
    ],
)
def test_names_are_taken_apart_as_by_pathlib(path, tmp_path, remote):
    assert outcome(path, remote) == outcome(path, tmp_path)


def write_lines(path):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["a", "ü"], ["1", "two\nlines"]])


OPERATIONS = [
    ("nothing is there", lambda p: [q.exists() for q in (p, p / "a.txt")]),
    ("write text", lambda p: (p / "a.txt").write_text("één\r\ntwee\n", encoding="utf-8")),
    ("read text", lambda p: (p / "a.txt").read_text(encoding="utf-8")),
    ("read bytes", lambda p: (p / "a.txt").read_bytes()),
    ("what it is", lambda p: [(q.exists(), q.is_file(), q.is_dir()) for q in (p, p / "a.txt", p / "none")]),
    ("size", lambda p: (p / "a.txt").stat().st_size),
    ("write less over more", lambda p: (p / "a.txt").write_bytes(b"\x00\xff")),
    ("is less", lambda p: ((p / "a.txt").read_bytes(), (p / "a.txt").stat().st_size)),
    ("bytes that are no text", lambda p: (p / "a.txt").read_text(encoding="utf-8", errors="replace")),
    ("write what UTF-8 lacks", lambda p: (p / "b").write_text("\udce9", "utf-8", "backslashreplace")),
    ("as written", lambda p: (p / "b").read_bytes()),
    ("write csv", lambda p: write_lines(p / "c.csv")),
    ("csv", lambda p: list(csv.reader(io.StringIO((p / "c.csv").read_bytes().decode())))),
    ("an empty file", lambda p: (p / "empty").write_bytes(b"")),
    ("is there", lambda p: ((p / "empty").is_file(), (p / "empty").read_bytes(), (p / "empty").stat().st_size)),
    ("a folder without the one above", lambda p: (p / "x" / "y").mkdir()),
    ("a folder", lambda p: (p / "x" / "y").mkdir(parents=True)),
    ("once more", lambda p: (p / "x" / "y").mkdir(parents=True)),
    ("may be there", lambda p: (p / "x" / "y").mkdir(parents=True, exist_ok=True)),
    ("a folder in it", lambda p: (p / "x" / "z").mkdir()),
    ("a folder named as a file", lambda p: (p / "a.txt").mkdir(exist_ok=True)),
    ("list", lambda p: sorted(p.iterdir())),
    ("list an empty one", lambda p: sorted((p / "x" / "y").iterdir())),
    ("list none", lambda p: sorted((p / "none").iterdir())),
    ("match", lambda p: [sorted(p.glob(pattern)) for pattern in ("*.txt", "[ab]*", ".*", "*", "?")]),
    ("match in none", lambda p: list((p / "none").glob("*"))),
    ("write a hidden one", lambda p: (p / ".hidden").write_bytes(b"h")),
    ("match hidden ones, too", lambda p: [sorted(p.glob(pattern)) for pattern in ("*", ".*")]),
    ("rename", lambda p: (p / "c.csv").replace(str(p / "d.csv")) and None),
    ("rename over", lambda p: (p / "d.csv").replace(str(p / "a.txt")) and None),
    ("renamed", lambda p: ((p / "d.csv").exists(), (p / "a.txt").read_bytes())),
    ("names that begin alike", lambda p: [(p / name).write_bytes(b"x") for name in ("n", "n.tfrecord", "nn")]),
    ("rename one of them", lambda p: (p / "n").replace(str(p / "m")) and None),
    ("the others stay", lambda p: [sorted(p.glob(pattern)) for pattern in ("n*", "m*")]),
    ("rename onto itself", lambda p: (p / "a.txt").replace(str(p / "a.txt")) and None),
    ("rename an empty one", lambda p: (p / "empty").replace(str(p / "a.txt")) and None),
    ("rename none", lambda p: (p / "none").replace(str(p / "a.txt")) and None),
    ("remove", lambda p: (p / "a.txt").unlink()),
    ("remove none", lambda p: (p / "a.txt").unlink()),
    ("remove none, which need not be there", lambda p: (p / "a.txt").unlink(missing_ok=True)),
    ("read none", lambda p: (p / "none").read_bytes()),
    ("open none", lambda p: (p / "none").open("rb")),
    ("size of none", lambda p: (p / "none").stat()),
    ("read a folder", lambda p: (p / "x").read_bytes()),
    ("walk", lambda p: list(files.walk(p))),
    ("walk through none", lambda p: list(files.walk(p / "none"))),
]


def test_every_operation_gives_the_same_and_fails_alike(tmp_path, remote):
    for name, operation in OPERATIONS:
        assert outcome(operation, remote) == outcome(operation, tmp_path), name


steps_of_a_reader = st.one_of(
    st.tuples(st.sampled_from(["read", "readline"]), st.integers(-1, 20)),
    st.tuples(st.just("seek"), st.integers(0, 45)),
    st.tuples(st.just("seek"), st.integers(-20, 20), st.just(io.SEEK_CUR)),
    st.tuples(st.just("seek"), st.integers(-45, 10), st.just(io.SEEK_END)),
    st.tuples(st.just("tell")),
)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(content=st.binary(max_size=40), steps=st.lists(steps_of_a_reader, max_size=12), buffered=st.booleans())
def test_an_open_file_moves_as_any_other(tmp_path_factory, content, steps, buffered):
    def answer(file, name, *arguments):
        try:
            return getattr(file, name)(*arguments)
        except OSError as error:  # to before its start
            return error.errno

    def answers(path):
        path.write_bytes(content)
        with path.open("rb") as file:
            return [answer(file if buffered else file.raw, *step) for step in steps]

    assert answers(files.path("ram://moves/file")) == answers(tmp_path_factory.getbasetemp() / "moves")


def test_a_large_file_comes_back_whole(remote, rng):
    content = rng.bytes(3_000_001)
    with (remote / "large").open("wb") as file:
        for start in range(0, len(content), 70_001):
            assert file.write(content[start : start + 70_001]) == len(content[start : start + 70_001])
    assert (remote / "large").read_bytes() == content
    with (remote / "large").open("rb") as file:
        assert b"".join(iter(lambda: file.read(99_991), b"")) == content
        for start in rng.integers(0, len(content), 20):
            file.seek(start)
            assert file.read(5000) == content[start : start + 5000]
        assert file.name == f"{remote}/large"


def test_only_reading_and_writing_anew(remote):
    with pytest.raises(ValueError, match=r"expected mode r, rb, w or wb\. Received: mode='a'"):
        (remote / "a").open("a")


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("a/b", pathlib.Path, "a/b"),
        (pathlib.Path("/a"), pathlib.Path, "/a"),
        ("file:///a/b", pathlib.Path, "/a/b"),
        ("gs://bucket/a", files.Remote, "gs://bucket/a"),
        ("gs://bucket/a/", files.Remote, "gs://bucket/a"),
        ("hdfs:///a", files.Remote, "hdfs:///a"),
        ("ram://", files.Remote, "ram://"),
        ("C:/a", pathlib.Path, "C:/a"),
        ("://a", pathlib.Path, ":/a"),
    ],
)
def test_a_scheme_makes_a_path_remote(name, kind, text):
    path = files.path(name)
    assert isinstance(path, kind)
    assert str(path) == text
    assert files.path(path) == path


def test_a_remote_path_is_no_local_name(remote):
    with pytest.raises(TypeError, match="PathLike"):
        pathlib.Path(remote / "a")


def test_an_unknown_scheme_is_one_clear_line():
    for touch in (files.Remote.exists, files.Remote.is_dir, files.Remote.read_bytes, files.write_text):
        arguments = ["text"] if touch is files.write_text else []
        with pytest.raises(
            InputError, match=r"^gopher://: expected a path that TensorFlow opens \(.*gs.*\)\. Received"
        ):
            touch(files.path("gopher://hole/a"), *arguments)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow_io") is not None, reason="tensorflow-io is there")
def test_a_scheme_of_tensorflow_io_says_what_to_install():
    with pytest.raises(InputError, match=r"^s3://: expected .*; install 'ptxtf\[tfio\]' for this one\. Received"):
        files.path("s3://bucket/a").is_dir()


def test_tensorflow_is_loaded_when_a_remote_file_is_touched():
    probe = (
        "import sys; from ptxtf import files, flags, rundir; path = files.path('ram://a/b.txt');"
        "assert path.with_suffix('').name == 'b'; assert 'tensorflow' not in sys.modules;"
        "assert not path.exists(); assert 'tensorflow' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_a_failure_leaves_the_old_file_and_nothing_else(folder):
    path = folder / "deep" / "table.csv"
    files.write_text(path, "old")

    def write_half(context):
        with context(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("pulled the plug")

    for context in (files.atomic, files.atomic_local):
        with pytest.raises(RuntimeError, match="plug"):
            write_half(context)
        assert path.read_text() == "old"
        assert list(path.parent.iterdir()) == [path]


def test_the_file_is_not_there_before_it_is_whole(folder):
    for number, context in enumerate([files.atomic, files.atomic_local]):
        path = folder / "new" / f"{number}.txt"
        with context(path, ending=".weights.h5") as temporary:
            temporary.write_text("x")
            assert temporary.name.endswith(".weights.h5")
            assert not path.exists()
        assert path.read_text() == "x"


def test_writers_and_readers_of_local_files_alone(folder):
    with files.atomic_local(folder / "a.h5") as local, h5py.File(local, "w") as file:
        file["x"] = [1, 2]
    with files.local(folder / "a.h5") as local, h5py.File(local) as file:
        assert list(file["x"]) == [1, 2]
    assert local.exists() == isinstance(folder, pathlib.Path)  # a copy is gone, the file itself is not
    assert list(folder.iterdir()) == [folder / "a.h5"]


def test_what_a_killed_writer_left_is_swept(folder):
    kill = (
        "import os, sys; from ptxtf import files\n"
        "with files.atomic(sys.argv[1]) as temporary: print(temporary.name, flush=True); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", kill, "a.tfrecord"], stdout=subprocess.PIPE, text=True, check=False)
    left = folder / done.stdout.strip()
    left.write_bytes(b"half")
    (folder / "b.tfrecord").write_bytes(b"whole")
    elsewhere = folder / ".d.tfrecord.elsewhere.1.part"  # of a machine that may be writing still
    elsewhere.write_bytes(b"half")
    with files.atomic(folder / "c.tfrecord") as temporary:
        temporary.write_bytes(b"under way")
        files.sweep(folder)
        assert not left.exists()
    assert sorted(folder.iterdir()) == [elsewhere, folder / "b.tfrecord", folder / "c.tfrecord"]


def test_flag_files_build_on_one_another_from_afar(remote):
    (remote / "base.flags").write_text("--count=3\n--output_dir=x\n")
    (remote / "mine.flags").write_text("--flagfile=base.flags\n--seed=4\n")
    (remote / "loop.flags").write_text("--flagfile=loop.flags\n")
    from ptxtf.config import PhantomConfig

    (config,), _ = flags.parse([f"--flagfile={remote}/mine.flags"], PhantomConfig)
    assert (config.count, config.seed, config.output_dir) == (3, 4, "x")
    with pytest.raises(
        InputError, match=rf"{remote}/loop\.flags:1: expected flag files that do not include themselves"
    ):
        flags.parse([f"--flagfile={remote}/loop.flags"], PhantomConfig)
    with pytest.raises(InputError, match=rf"expected a flag file.*Received: --flagfile={remote}/none"):
        flags.parse([f"--flagfile={remote}/none"], PhantomConfig)


def settings_of(run_dir, records_dir, *, epochs=1) -> RunConfig:
    return RunConfig(
        InputConfig(records_dir=str(records_dir), batch_size=4),
        TrainConfig(run_dir=str(run_dir), epochs=epochs, overlays=1),
        network=ModelConfig(backbone="tiny", weights="none", decoder_filters=(4, 4, 4, 4, 4)),
    )


def test_a_run_keeps_its_state(folder):
    assert rundir.checkpoints(folder) == []
    with pytest.raises(InputError, match=r"run\.flags: expected a run folder written by ptxtf\.train"):
        rundir.read_flags(folder)
    written = settings_of(folder, "records")
    rundir.write_flags(folder, written)
    assert rundir.read_flags(folder) == written

    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, kernel_initializer="zeros")])
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    state = checkpoints.RunState(folder, model, optimizer)
    for epoch in (1, 2, 3):
        model.set_weights([np.full([1, 1], epoch), np.zeros([1])])
        checkpoints.keep_weights(folder, model, epoch)
        state.save()
    found = rundir.checkpoints(folder)
    assert found == [folder / "checkpoints" / "ckpt-3", folder / "checkpoints" / "ckpt-2"]

    fresh = checkpoints.RunState(folder, model, optimizer)
    assert fresh.restore(found, epochs=3) == []
    assert fresh.epoch == 3
    assert model(np.ones([1, 1])).numpy() == 3
    checkpoints.load_mean(folder, model, [1, 2])
    checkpoints.write_model(folder, model)
    with files.local(folder / rundir.MODEL) as local:
        assert keras.saving.load_model(local)(np.ones([1, 1])).numpy() == 1.5
    checkpoints.drop_weights(folder, but=[2])
    assert [path.name for path in (folder / rundir.EPOCHS).iterdir()] == ["epoch-00002.weights.h5"]
    with pytest.raises(InputError, match=r"epoch-00001\.weights\.h5: expected the weights of an epoch"):
        checkpoints.load_mean(folder, model, [1])


def test_history_comes_back(folder):
    rows = [{"epoch": 1.0, "loss": 0.5, "seconds": 9.0}, {"epoch": 2.0, "loss": 0.25, "seconds": 9.0}]
    history.write(folder, rows)
    assert history.read(folder, epochs=2) == rows
    with pytest.raises(InputError, match=r"history\.csv: expected a row for each of 3 finished epochs"):
        history.read(folder, epochs=3)


@pytest.mark.parametrize("kind", ["keras 3", "legacy"])
def test_encoder_weights_come_from_afar(remote, kind):
    from ptxtf.models.weights import load_weights

    def network():
        return keras.Sequential([keras.Input([2]), keras.layers.Dense(2, name="dense")])

    source, target = network(), network()
    path = remote / ("a.weights.h5" if kind == "keras 3" else "a.h5")
    with files.atomic_local(path, ending=".weights.h5") as local:
        if kind == "keras 3":
            source.save_weights(local)
        else:
            kernel, bias = source.get_weights()
            with h5py.File(local, "w") as file:
                file.attrs["layer_names"] = ["dense"]
                file.create_group("dense").attrs["weight_names"] = ["kernel", "bias"]
                file["dense"]["kernel"], file["dense"]["bias"] = kernel, bias
    load_weights(target, str(path))
    np.testing.assert_array_equal(target.get_weights()[0], source.get_weights()[0])
    with pytest.raises(InputError, match=rf"weights file {remote}/none\.h5: expected a file of encoder weights"):
        load_weights(target, f"{remote}/none.h5")
    (remote / "bad.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=rf"weights file {remote}/bad\.h5: expected an HDF5 file"):
        load_weights(target, f"{remote}/bad.h5")


def convert_all(films, records) -> None:
    convert.convert(
        ConvertConfig(
            dicom_dir=str(films / "dicom"),
            annotations=str(films / "train-rle.csv"),
            patient_map=str(films / "patient-map.csv"),
            output_dir=str(records),
            image_size=64,
            num_shards=2,
            fractions=(0.5, 0.25, 0.25),
            workers=1,
        )
    )


@pytest.mark.slow
@pytest.mark.long
def test_the_whole_way_leads_through_remote_folders(phantoms, tmp_path, remote, capsys):
    films = remote / "films"
    for path in files.walk(phantoms):
        files.write_bytes(films / str(path.relative_to(phantoms)), path.read_bytes())
    for source, target in ((phantoms, tmp_path), (films, remote)):
        convert_all(source, target / "records")
    shards = sorted((tmp_path / "records").glob("*.tfrecord"))
    assert len(shards) == 6
    for path in shards:
        assert (remote / "records" / path.name).read_bytes() == path.read_bytes()
    checked = check.check(remote / "records")
    assert (
        check.contact_sheet(checked).read_bytes() == check.contact_sheet(check.check(tmp_path / "records")).read_bytes()
    )

    loop.train(settings_of(tmp_path / "run", tmp_path / "records", epochs=2))
    for epochs in (1, 2):
        assert loop.train(settings_of(remote / "run", remote / "records", epochs=epochs)) == remote / "run"
    assert f"{remote}/run: going on after epoch 1 of 2" in capsys.readouterr().out
    here, there = (history.read(folder / "run", epochs=2) for folder in (tmp_path, remote))
    assert [row | {"seconds": 0} for row in there] == [row | {"seconds": 0} for row in here]
    assert {path.name for path in (remote / "run").iterdir()} == {path.name for path in (tmp_path / "run").iterdir()}
    (event_file, *_) = sorted((remote / "run" / rundir.TENSORBOARD).iterdir())
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(event_file))]
    assert {"loss", "val_dice"} <= {value.tag for event in events for value in event.summary.value}

    for folder, source in ((tmp_path, phantoms), (remote, films)):
        evaluate(
            EvaluateConfig(
                run_dir=str(folder / "run"), records_dir=str(folder / "records"), output_dir=str(folder / "scores"),
                bootstrap=20,
            ),
            MaskConfig(),
        )  # fmt: skip
        predict(
            PredictConfig(run_dir=str(folder / "run"), output_dir=str(folder / "found")),
            MaskConfig(),
            [str(source / "dicom")],
        )
    for name in ("scores/images.csv", "found/submission.csv", "found/rejected.csv"):
        assert (remote / name).read_text() == (tmp_path / name).read_text()
    assert "<!doctype html>" in (remote / "scores" / "report.html").read_text()
    masks = sorted((tmp_path / "found").glob("*_mask.png"))
    assert len(masks) == 24
    for path in masks:
        assert (remote / "found" / path.name).read_bytes() == path.read_bytes()
    assert not [path for path in files.walk(remote) if ".part." in path.name]
