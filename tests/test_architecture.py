"""Who may know whom: the arrows of the house, held by reading every import."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "ptxtf").rglob("*.py"), *(ROOT / "tools").rglob("*.py")])

ORDER = [
    # Each room may import those above it in this list, never those below.
    {"errors"},
    {"remote"},
    {"files"},
    {"config", "devices", "flags", "ops", "pictures"},
    {"data", "models", "rundir"},
    {"preprocess"},
    {"pipeline", "forward"},
    {"inference"},
    {"training"},
    {"evaluation"},
    {"exporting", "serving"},
    {"train", "ensemble", "evaluate", "compare", "predict", "export", "serve"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
ALONE = {
    "pydicom": {"ptxtf.data.dicom", "ptxtf.data.dicom_results", "tools.benchmark.convert"},
    "highdicom": {"ptxtf.data.dicom_results"},
    "absl": {"ptxtf.flags"},
}
HEAVY = ("tensorflow", "keras", "pydicom", "highdicom", "cv2", "matplotlib")


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if parts[0] == "ptxtf" and len(parts) > 1 else ""


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_room_knows_only_those_above_it(path):
    here = room(module_name(path))
    for name in imports(path):
        there = room(name)
        if here and there and there != here:
            assert LEVEL[there] < LEVEL[here], f"{module_name(path)} must not import {name}"


def test_ops_know_nothing_of_ptxtf_but_each_other():
    for path in (ROOT / "ptxtf" / "ops").glob("*.py"):
        assert all(name.startswith("ptxtf.ops") for name in imports(path) if name.startswith("ptxtf")), path


@pytest.mark.parametrize(("name", "known"), [("losses", {"ptxtf.config"}), ("metrics", set())])
def test_losses_and_metrics_know_next_to_nothing_of_ptxtf(name, known):
    found = {n for n in imports(ROOT / "ptxtf" / "training" / f"{name}.py") if n.startswith("ptxtf")}
    assert {n.removesuffix(".LossConfig") for n in found} == known


def test_only_preprocess_turns_settings_into_calls_of_ops():
    for path in SOURCES:
        uses_ops = any(name.startswith("ptxtf.ops") for name in imports(path))
        assert not uses_ops or module_name(path).startswith(("ptxtf.ops", "ptxtf.preprocess", "tools.benchmark")), path


@pytest.mark.parametrize("package", ALONE)
def test_packages_with_one_importer(package):
    importers = {module_name(path) for path in SOURCES if any(n.split(".")[0] == package for n in imports(path))}
    assert importers == ALONE[package]


def test_no_junk_rooms():
    names = {path.stem for path in SOURCES}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def loaded_after(statement: str) -> set[str]:
    """Return which heavy packages a fresh interpreter has loaded after a statement."""
    probe = f"import sys; {statement}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import ptxtf, ptxtf.data, ptxtf.config, ptxtf.flags") == set()


def test_converting_needs_no_tensorflow():
    assert loaded_after("import ptxtf.data.convert, tools.make_tfrecords, ptxtf.data.phantom") == {"pydicom", "cv2"}


def test_models_and_ops_load_no_more_than_keras_itself():
    rooms = "import ptxtf.models, ptxtf.ops, ptxtf.training.losses, ptxtf.preprocess, ptxtf.data.dataset"
    assert loaded_after(rooms) == loaded_after("import tensorflow, keras")  # Keras takes OpenCV where it finds it


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_every_module_says_what_it_is(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert len(docstring.split()) >= 5
