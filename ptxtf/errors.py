"""The one exception that means "what you gave cannot be used", as opposed to a fault of ours.

Command lines print its message as a single line and exit with status 2; anything else keeps its traceback.
The message names the file or flag, says what was expected, and ends in what came.
"""


class InputError(ValueError):
    """A file, row, flag or array from outside that ptxtf cannot use; its message is made one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))
