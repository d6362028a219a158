"""What README, recipes and docstrings tell people to type is real: modules, flags, recipes, names."""

import importlib
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from ptxtf import config, flags

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = {
    "tools.make_phantoms": (config.PhantomConfig,),
    "tools.make_tfrecords": (config.ConvertConfig,),
    "tools.check_tfrecords": (),
    "ptxtf.data.service": (config.ServiceConfig,),
    "ptxtf.train": config.RUN,
    "ptxtf.ensemble": (config.EnsembleConfig, config.InferenceConfig),
    "ptxtf.evaluate": (config.EvaluateConfig, config.MaskConfig, config.InferenceConfig),
    "ptxtf.compare": (config.CompareConfig,),
    "ptxtf.predict": (config.PredictConfig, config.MaskConfig, config.InferenceConfig),
    "ptxtf.export": (config.ExportConfig, config.MaskConfig, config.InferenceConfig),
    "ptxtf.serve": (config.ServeConfig, config.LimitConfig, config.MaskConfig, config.InferenceConfig),
    "tools.benchmark": None,
}
TEXTS = [
    ROOT / "README.md", ROOT / "Makefile", ROOT / "BUILD_NOTES.md", *flags.RECIPES.glob("*.flags"),
    *(ROOT / "tools").glob("*.py"), *(ROOT / "ptxtf").glob("*.py"),
    ROOT / "ptxtf" / "data" / "service.py",
]  # fmt: skip


def commands() -> list[tuple[str, str]]:
    found = []
    for path in TEXTS:
        text = re.sub(r"\\\n\s*#?\s*", "", path.read_text())
        found += [(path.name, line) for line in re.findall(r"python -m ((?:tools|ptxtf)\.\w+[^\n`]*)", text)]
    return found


def test_there_are_commands_to_check():
    assert {line.split()[0] for _, line in commands()} == set(CONFIGS)


@pytest.mark.parametrize("line", [pytest.param(line, id=f"{where}: {line[:50]}") for where, line in commands()])
def test_a_command_that_is_written_down_is_understood(line):
    module, *argv = shlex.split(line.replace("$(", "").replace(")", ""), comments=True)
    assert importlib.util.find_spec(module)
    if CONFIGS[module] is not None:
        flags.parse([word.replace("…", "x") for word in argv], *CONFIGS[module])


def test_names_in_the_readme_s_python_exist():
    """In a fresh interpreter, after the snippet's own imports and no others."""
    pages = (ROOT / "README.md", ROOT / "docs" / "models.md")
    text = "\n".join(page.read_text() for page in pages)
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    lines = [line for line in code.splitlines() if line.startswith("import ")]
    lines += sorted(set(re.findall(r"\bptxtf(?:\.\w+)+", code)))
    assert len(lines) > 8
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True)


def test_paths_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    found = re.findall(r"`((?:ptxtf|tools|tests)/[\w/.]+)`", text)
    assert len(found) > 5
    for name in found:
        assert (ROOT / name).exists(), name


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).stat().st_size > 0, target
