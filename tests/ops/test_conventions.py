"""What every operation promises by its signature and docstring, and what the package may import."""

import ast
import inspect
import pathlib
import re
import sys

import pytest

from ptxtf import ops

PUBLIC = [getattr(ops, name) for name in ops.__all__]
MODULES = sorted(pathlib.Path(ops.__file__).parent.glob("*.py"))

by_name = pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)


def test_all_public_functions_on_tensors_are_exported():
    defined = {
        node.name
        for path in MODULES
        if path.stem not in ("blend", "checks", "draws", "grid")  # what operations share, none themselves
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and "Tensor" in ast.unparse(node.args)
    }
    assert defined == set(ops.__all__)


@by_name
def test_data_come_first_and_are_batched(function):
    first, *_ = inspect.signature(function).parameters.values()
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert first.default is inspect.Parameter.empty
    assert first.name.endswith("s"), f"{first.name}: a batch is named in the plural"


@by_name
def test_options_are_keyword_only_and_data_have_no_defaults(function):
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            assert "Tensor" in str(parameter.annotation), f"{parameter.name} is an option and must be keyword-only"
            assert parameter.default is inspect.Parameter.empty


@by_name
def test_tensors_are_batched_and_named_in_the_plural(function):
    for parameter in inspect.signature(function).parameters.values():
        if "Tensor" in str(parameter.annotation) and parameter.name != "noise":
            assert re.sub("_(radians|px)$", "", parameter.name).endswith(("s", "matrices")), parameter.name


@by_name
def test_everything_is_annotated(function):
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


@by_name
def test_docstrings_tell_every_argument_and_what_comes_out(function):
    text = inspect.getdoc(function)
    for section in ("Args:", "Returns:", "Raises:", "Example:"):
        assert f"\n{section}\n" in text
    for name in inspect.signature(function).parameters:
        assert f"\n    {name}: " in text, f"{name} is not described"


@by_name
def test_only_drawing_functions_take_seeds_and_they_must(function):
    draws = function.__name__.startswith("draw_")
    seeds = inspect.signature(function).parameters.get("seeds")
    assert (seeds is not None) == draws
    if draws:
        assert seeds.default is inspect.Parameter.empty


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_operations_know_nothing_above_them(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    ours = {name for name in imported if name.startswith("ptxtf")}
    assert all(name.startswith("ptxtf.ops.") for name in ours)
    outside = {name.split(".")[0] for name in imported - ours} - sys.stdlib_module_names
    assert outside <= {"numpy", "tensorflow"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_random_numbers_are_stateless(path):
    names = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    drawing = {name for name in names if name.startswith(("tf.random.", "np.random."))}
    assert drawing <= {"tf.random.fold_in", "tf.random.stateless_uniform"}
