"""What settings are made of: fields that carry their help text, and checks of their values.

Messages speak of flags, as that is where most values come from.
"""

import dataclasses
import math
import numbers
import os
import typing
from typing import Any, Literal


def setting(help: str, default: Any = dataclasses.MISSING) -> Any:  # noqa: A002 (argparse's and absl's word for it)
    """Return a dataclass field that carries its own help text."""
    return dataclasses.field(default=default, metadata={"help": help})


def check(condition: bool, expected: str, **received: object) -> None:
    """Raise ValueError `expected …. Received: name=value` unless `condition` holds."""
    if not condition:
        came = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"expected {expected}. Received: {came}")


_KINDS: dict[Any, tuple[str, Any]] = {
    int: ("an integer", numbers.Integral),
    float: ("a number", numbers.Real),
    str: ("a text", (str, os.PathLike)),
    bool: ("True or False", bool),
}
"""What a field's type is called, and what its values are instances of."""


def check_fields(config: Any) -> None:
    """Raise ValueError unless every field's value is of its kind, and one of its choices where it has such.

    Of the kind are NumPy's numbers too; they become Python's, as small ones of NumPy overflow.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if typing.get_origin(field.type) is Literal:
            choices = typing.get_args(field.type)
            check(value in choices, f"{field.name} of {', '.join(choices)}", **{field.name: value})
            continue
        is_tuple = typing.get_origin(field.type) is tuple
        kind = typing.get_args(field.type)[0] if is_tuple else field.type
        name, instances = _KINDS[kind]
        values = value if is_tuple and not isinstance(value, str) else (value,)
        is_fit = all(isinstance(one, instances) for one in values)
        check(is_fit, f"{field.name}, {'each ' * is_tuple}{name}", **{field.name: value})
        if kind in (int, float):
            plain = tuple(kind(one) for one in values)
            object.__setattr__(config, field.name, plain if is_tuple else plain[0])


def check_positive(**numbers: float) -> None:
    """Raise ValueError unless each is a finite number above 0."""
    for name, value in numbers.items():
        check(math.isfinite(value) and value > 0, f"{name} above 0", **{name: value})


def check_default(config: Any, name: str, *, when: bool, of: str) -> None:
    """Refuse a setting that another one, `of`, gives no effect."""
    default = next(field.default for field in dataclasses.fields(config) if field.name == name)
    value = getattr(config, name)
    check(not when or value == default, f"no {name} with {of}={getattr(config, of)}, which has none", **{name: value})


def check_seed(seed: int) -> None:
    """Raise ValueError unless the seed is in 0..2**32 - 1."""
    is_fit = isinstance(seed, numbers.Integral) and 0 <= seed < 2**32
    check(is_fit, "seed, an integer in 0..4294967295", seed=seed)


def check_not_negative(**numbers: float) -> None:
    """Raise ValueError unless each is a finite number of 0 or more."""
    for name, value in numbers.items():
        check(math.isfinite(value) and value >= 0, f"{name} of 0 or more", **{name: value})


def check_spacing_factor(factor: float) -> None:
    """Raise ValueError unless it is 0 or such as images are shrunk by: 0.01..100."""
    check(factor == 0 or 0.01 <= factor <= 100, "spacing_factor of 0, or within 0.01..100", spacing_factor=factor)
