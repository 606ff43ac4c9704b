"""Frozen dataclasses as plain data and back, every value checked: configurations are foreign files."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from wildhoi.errors import InputError

LARGEST = {int: 65_536, float: 1e12}
"""What numbers of a configuration are below: a file cannot ask for more memory than there is."""

Config = TypeVar("Config")


def from_plain(kind: type[Config], value: Any, where: str) -> Config:
    """A dataclass of plain data.

    Args:
        kind: a dataclass of numbers, texts, flags, literals and other such dataclasses.
        value: a mapping of its fields; those with a default may be absent.
        where: the file and the entry, for messages.

    Raises:
        InputError: a field is absent, unknown, of the wrong type, or a number that is not finite or too large.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: got {_shown(value)}, want a table of settings")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass, as the caller says
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise InputError(f"{where}: {', '.join(map(_shown, unknown))}: unknown, want of {', '.join(known)}")
    found: dict[str, Any] = {}
    for name, field in known.items():
        if name in value:
            found[name] = _checked(hints[name], value[name], f"{where}: {name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: {name} is absent")
    try:
        return kind(**found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _checked(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InputError(f"{where}: got {_shown(value)}, want {' or '.join(map(str, get_args(hint)))}")
        return value
    if get_origin(hint) in (Union, UnionType):
        return None if value is None else _checked(next(a for a in get_args(hint) if a is not type(None)), value, where)
    wanted: Any = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where}: got {_shown(value)}, want {_name(hint)}")
    if hint in LARGEST and not abs(value) < LARGEST[hint]:  # NaN is not below anything either
        raise InputError(f"{where}: got {_shown(value)}, want a number below {LARGEST[hint]:,}")
    return hint(value)


def _name(hint: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(hint, str(hint))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
