"""Commands of ptxtf in processes of their own: memory is then one network's, and one that fails stops no other."""

import subprocess
import sys
from collections.abc import Sequence

_INTERRUPTED = 130


def run(module: str, arguments: Sequence[str]) -> bool:
    """Run a command of ours, which speaks for itself; return whether it succeeded.

    Args:
        module: as "ptxtf.train".
        arguments: its flags.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C.
    """
    status = subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
    if status == _INTERRUPTED:
        raise KeyboardInterrupt
    return status == 0
