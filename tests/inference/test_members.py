"""Which networks a folder stands for, and how they are asked."""

import pytest

from ptxtf import rundir
from ptxtf.config import InferenceConfig, RunsConfig
from ptxtf.errors import InputError
from ptxtf.inference import members


@pytest.fixture
def run(tmp_path):
    """Return a function that makes a folder look like a run's, and gives it."""

    def make(name, *, flags=(), epochs=(), used=()):
        folder = tmp_path / name
        (folder / "epochs").mkdir(parents=True)
        (folder / "run.flags").write_text("\n".join(["--records_dir=r", "--run_dir=d", "--epochs=9", *flags]))
        for epoch in epochs:
            (folder / "epochs" / rundir.weights_name(epoch)).write_bytes(b"")
        rundir.write_trained_on(folder, used)
        return folder

    return make


def told(found):
    return [(member.run_dir.name, member.epoch, pytest.approx(member.weight)) for member in found.networks]


def test_a_run_is_alone(run):
    found = members.find(run("a"))
    assert told(found) == [("a", None, 1.0)]
    assert (found.gate, found.asked) == (None, InferenceConfig())
    assert [member.file.name for member in found.all] == ["model.keras"]


def test_several_share_alike_or_as_they_are_weighted(run):
    text = f"{run('a')},{run('b')},{run('c')}"
    assert told(members.find(text)) == [("a", None, 1 / 3), ("b", None, 1 / 3), ("c", None, 1 / 3)]
    weighted = members.find(text, InferenceConfig(member_weights=(1, 2, 5)))
    assert told(weighted) == [("a", None, 1 / 8), ("b", None, 2 / 8), ("c", None, 5 / 8)]
    with pytest.raises(InputError, match=r"expected --member_weights for 3 runs\. Received: member_weights=\(1.0, 2.0"):
        members.find(text, InferenceConfig(member_weights=(1, 2)))


def test_a_comma_may_be_part_of_a_folder_s_name(run):
    assert told(members.find(run("a,b"))) == [("a,b", None, 1.0)]


def test_a_cross_validation_is_its_folds_which_share_its_weight(run, tmp_path):
    for fold in ("cv/fold1", "cv/fold0", "cv/fold2"):
        run(fold)
    (tmp_path / "cv" / "fold3").mkdir()  # not begun
    found = members.find(f"{tmp_path / 'cv'},{run('a')}")
    assert told(found) == [(f"fold{k}", None, 1 / 6) for k in range(3)] + [("a", None, 1 / 2)]


def test_the_epochs_of_a_run_take_part_by_themselves(run):
    text = f"{run('a', epochs=(2, 7))},{run('b', epochs=(1,))}"
    found = members.find(text, InferenceConfig(members="epochs"))
    assert told(found) == [("a", 2, 1 / 4), ("a", 7, 1 / 4), ("b", 1, 1 / 2)]
    assert [member.file.name for member in found.all] == [rundir.weights_name(epoch) for epoch in (2, 7, 1)]
    with pytest.raises(InputError, match=r"epochs: expected the weights of epochs for --members=epochs"):
        members.find(run("c"), InferenceConfig(members="epochs"))


def test_an_ensemble_s_folder_can_be_moved_with_what_is_in_it(run, tmp_path):
    folder = tmp_path / "all"
    inner, outer, gate = run("all/unet"), run("elsewhere"), run("all/gate")
    asked = InferenceConfig(gate_dir=str(gate), member_weights=(3, 1), tta_flip=True, tile_overlap=0.0)
    members.write(folder, RunsConfig(run_dir=f"{inner},{outer}"), asked)
    moved = folder.rename(tmp_path / "moved")
    found = members.find(moved)
    assert told(found) == [("unet", None, 0.75), ("elsewhere", None, 0.25)]
    assert [member.run_dir for member in found.networks] == [moved / "unet", outer]
    assert found.gate.run_dir == moved / "gate"
    assert found.asked.tta_flip
    otherwise = members.find(moved, InferenceConfig(tta_gammas=(0.8,), member_weights=(1, 1)))
    assert told(otherwise) == [("unet", None, 0.5), ("elsewhere", None, 0.5)]
    assert (otherwise.asked.tta_flip, otherwise.asked.tta_gammas) == (True, (0.8,))


@pytest.mark.parametrize("names", [",", "a,,b", ",a"])
def test_an_empty_name_is_told(names):
    with pytest.raises(InputError, match=r"expected folders of runs with single commas between\. Received: run_dir="):
        members.find(names)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "ensemble.flags: expected flags only"),
        ("--tile_overlap=7", "ensemble.flags: expected tile_overlap"),
        ("--member_weights=1,2", "ensemble.flags: expected --member_weights for 1 runs"),
    ],
)
def test_a_spoiled_flag_file_is_named(run, tmp_path, line, message):
    members.write(tmp_path / "all", RunsConfig(run_dir=str(run("a"))), InferenceConfig())
    path = tmp_path / "all" / "ensemble.flags"
    path.write_text(f"{path.read_text()}\n{line}\n")
    with pytest.raises(InputError, match=message):
        members.find(tmp_path / "all")


def test_ensembles_do_not_nest(run, tmp_path):
    members.write(tmp_path / "all", RunsConfig(run_dir=str(run("a"))), InferenceConfig())
    with pytest.raises(InputError, match=r"expected runs as members of an ensemble\. Received: another ensemble"):
        members.find(f"{tmp_path / 'all'},{run('b')}")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_a_run_is_told(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"run\.flags: expected a run folder written by ptxtf\.train"):
        members.find(tmp_path / name)


def test_what_any_network_has_learnt_from_counts(run):
    one = run("a", used=[rundir.Used("1", "p", "train"), rundir.Used("2", "q", "val")])
    other = run("b", used=[rundir.Used("1", "p", "train"), rundir.Used("3", "q", "train")])
    found = members.trained_on(members.find(f"{one},{other}"))
    assert sorted(found) == [("1", "p", "train"), ("2", "q", "val"), ("3", "q", "train")]
    (other / "trained_on.json").unlink()
    assert members.trained_on(members.find(f"{one},{other}")) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile_overlap": 1.0}, "tile_overlap from 0 to below 1"),
        ({"at_size": 16385}, "at_size from 0 to 16384"),
        ({"tta_scales": (0.0,)}, "tta_scales, each within 0.1..10"),
        ({"tta_rotations": (200.0,)}, "tta_rotations, each within -180..180"),
        ({"member_weights": (1.0, -1.0)}, "member_weights, each within 1e-06..1e"),
    ],
)
def test_settings_out_of_range_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        InferenceConfig(**settings)
