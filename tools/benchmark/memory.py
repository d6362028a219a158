"""How much memory XLA plans for CLAHE: the whole of its buffer assignment, as it writes that down while compiling.

Input, output, constants and scratch space are all in it. Nothing else is allocated when the program runs, so this is
its peak, and no matter of chance. XLA writes it where a process asks for it from the start, so a child does.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence

WHAT = "XLA's buffer assignment: input, output and scratch"


def bytes_used(dtypes: Sequence[str], shape: tuple[int, ...]) -> dict[str, int]:
    """Return what `ops.clahe` of images [B, H, W] uses, by dtype."""
    program = f"from tools.benchmark import memory; memory.compile_clahe({list(dtypes)}, {tuple(shape)})"
    with tempfile.TemporaryDirectory() as folder:
        options = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder} --xla_dump_hlo_as_text"
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "XLA_FLAGS": options}, capture_output=True, check=True
        )
        reports = sorted(pathlib.Path(folder).glob("module_*clahe*buffer-assignment.txt"))  # numbered as compiled
        totals = [re.findall(r"^Total bytes used: (\d+)", report.read_text(), flags=re.MULTILINE) for report in reports]
    return {dtype: int(total) for dtype, (total,) in zip(dtypes, totals, strict=True)}


def compile_clahe(dtypes: Sequence[str], shape: tuple[int, int, int]) -> None:
    """Compile `ops.clahe` for each dtype by running it."""
    import tensorflow as tf

    from ptxtf import ops

    for dtype in dtypes:
        tf.function(ops.clahe, jit_compile=True)(tf.zeros([*shape, 1], tf.as_dtype(dtype)))
