"""The one exception that means "what you gave cannot be used", as opposed to a fault of ours.

Command lines print its message as a single line and exit with status 2; anything else keeps its traceback.
The message names the file or flag, says what was expected, and ends in what came.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A file, row, flag or array from outside that ptxtf cannot use; its message is made one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """Return the beginning of a message, "did you mean tiny? ", or nothing where no choice is close.

    Example:
        >>> did_you_mean("ResNet-34", ["resnet34", "vgg16"])
        'did you mean resnet34? '
    """
    close = difflib.get_close_matches(str(value).lower(), choices, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}? " if close else ""


_PREAMBLE = ("Graph execution error:", "Detected at node ", "<stack traces unavailable>", 'File "')
"""What TensorFlow's messages may begin with."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that says something; of one without any, its kind."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith(_PREAMBLE)), type(error).__name__)
