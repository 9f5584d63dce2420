"""Configuration files: TOML laid over a frozen dataclass, strictly.

Every key must be a field (an unknown one offers the nearest), every value must have the field's type (`1e-4` is a
number, `"1e-4"` is not) and be finite, a duplicate key or table is an error; nothing is coerced and nothing is dropped.
"""

import dataclasses
import math
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from foretext import pickles
from foretext.errors import UsageError, nearest, shorten

RecordT = TypeVar("RecordT")


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file as a dict; a missing file or bad syntax (duplicates too) is a UsageError naming the line."""
    pickles.refuse_file(Path(file))
    try:
        return tomllib.loads(Path(file).read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise UsageError("no such configuration file", file=file) from error
    except IsADirectoryError as error:
        raise UsageError("expected a TOML file, found a folder", file=file) from error
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror or error})", file=file) from error
    except (ValueError, RecursionError) as error:  # of ValueError also: a number of more digits than Python reads
        raise UsageError(f"not valid TOML: {error}", file=file) from error


def assigned(words: Sequence[str]) -> dict[str, Any]:
    """Settings as a command line gives them, "family.rate=0.05" each: what a TOML file of these lines would hold, but that
    a plain word needs no quotes. UsageError for what is no assignment, or assigned twice."""
    lines = []
    for word in words:
        key, sign, value = (part.strip() for part in word.partition("="))
        if not (key and sign and value) or not all(part.isidentifier() for part in key.split(".")):
            raise UsageError(f"expected KEY=VALUE, found {word!r}", remedy="for example family.width=128")
        lines.append(f"{key} = {value if _is_value(value) else _quoted(value)}")
    try:
        return tomllib.loads("\n".join(lines))
    except ValueError as error:
        raise UsageError(f"{'; '.join(lines)}: {error}") from error


def _quoted(text: str) -> str:
    """`text` as a TOML string, which is JSON's but for a character. UsageError where it is no text."""
    try:
        return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
    except UnicodeError as error:
        raise UsageError(f"expected UTF-8, found {text!r}") from error


def _is_value(text: str) -> bool:
    """Whether TOML reads `text` as one value."""
    try:
        return list(tomllib.loads(f"x = {text}")) == ["x"]
    except (ValueError, RecursionError):
        return False


def override(record: RecordT, values: Mapping[str, Any], *, file: str | Path | None = None, place: str = "") -> RecordT:
    """`record` with `values` laid over it, tables over nested records and over mappings of records.

    Errors: an unknown key, or a value of another type than the field's → UsageError naming file and key. Of keys that
    its kin have, a record may say why it has not, or why its own does nothing here (`lacks`).
    """
    assert dataclasses.is_dataclass(record) and not isinstance(record, type)
    hints = typing.get_type_hints(type(record))
    changes = {}
    for key, value in values.items():
        where = f"{place}.{key}" if place else key
        if why := getattr(record, "lacks", {}).get(key):
            raise UsageError(why, file=file, place=where, remedy=f"leave {key!r} out")
        if key not in {f.name for f in dataclasses.fields(record)}:
            raise _unknown_key(key, where, [f.name for f in dataclasses.fields(record)], file)
        changes[key] = _laid_over(getattr(record, key), value, hints[key], file, where)
    try:
        return dataclasses.replace(record, **changes)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error), file=file, place=place) from error
    except UsageError as error:  # the record's own rules, which know no file
        inner = ".".join(part for part in (place, error.place) if part)
        raise UsageError(error.rule, file=error.file or file, place=inner, remedy=error.remedy) from error


def _laid_over(old: Any, value: Any, hint: Any, file: str | Path | None, where: str) -> Any:
    record = dataclasses.is_dataclass(old) and not isinstance(old, type)
    records = isinstance(old, Mapping) and old and all(map(dataclasses.is_dataclass, old.values()))
    if (record or records) and not isinstance(value, Mapping):
        raise UsageError(f"expected a table, found {shown(value)}", file=file, place=where, remedy=f"write [{where}]")
    if record:
        return override(old, value, file=file, place=where)
    if records:
        merged = dict(old)
        for key, inner in value.items():
            if key not in old:
                raise _unknown_key(key, f"{where}.{key}", list(old), file)
            merged[key] = _laid_over(old[key], inner, type(old[key]), file, f"{where}.{key}")
        return merged
    try:
        return strict(value, hint)
    except (msgspec.ValidationError, OverflowError) as error:
        raise UsageError(f"{error} (found {shown(value)})", file=file, place=where) from error
    except TypeError as error:  # nothing that a file could write has the type that stands here
        raise UsageError(f"nothing can be set here, found {shown(value)}", file=file, place=where) from error
    except UsageError as error:  # a record's own rules
        raise UsageError(error.rule, file=file, place=where, remedy=error.remedy) from error


def strict(value: Any, hint: Any) -> Any:
    """`value` as the type `hint`; dataclasses inside refuse keys that are no fields (msgspec alone drops them)."""
    converted = msgspec.convert(value, hint, strict=True)
    if (number := _infinite(value)) is not None:
        raise msgspec.ValidationError(f"Expected a finite number, got `{number}`")
    lost = _lost_key(value, converted)
    if lost:
        raise msgspec.ValidationError(f"Object contains unknown field `{lost}`")
    return converted


def shown(value: Any, most: int = 60) -> str:
    """A value as messages show it, however large."""
    try:
        text = repr(value)
    except ValueError:  # Python spells no integer of more than 4,300 digits
        text = "a number of thousands of digits"
    return shorten(text, most)


def _infinite(value: Any) -> float | None:
    """The first number inside `value` that is not finite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return next((found for part in parts if (found := _infinite(part)) is not None), None)


def ranges(
    record: object,
    *,
    least: Mapping[str, float] = {},
    above: Mapping[str, float] = {},
    shares: Sequence[str] = (),
) -> None:
    """A record's own rule, for its `__post_init__`: the fields in `least` are at least so large, those in `above`
    larger than that, and `shares` lie between 0 and 1; all are finite. None passes, and a tuple's every element counts.
    Errors: the first field that breaks it → UsageError with the field as its place."""
    rules = [
        *((name, f"at least {low:g}", low, math.inf, False) for name, low in least.items()),
        *((name, f"a number above {low:g}", low, math.inf, True) for name, low in above.items()),
        *((name, "a share between 0 and 1", 0.0, 1.0, False) for name in shares),
    ]
    for name, rule, low, high, strictly in rules:
        value = getattr(record, name)
        for number in value if isinstance(value, tuple) else () if value is None else (value,):
            if not (low <= number <= high) or (strictly and number == low) or number == math.inf:
                raise UsageError(f"expected {rule}, found {shown(value)}", place=name)


def _lost_key(value: Any, converted: Any) -> str | None:
    if isinstance(value, Mapping) and dataclasses.is_dataclass(converted):
        names = [f.name for f in dataclasses.fields(converted)]
        for key in value:
            if key not in names:
                guess = nearest(key, names)
                return f"{key}` (did you mean `{guess}`?)" if guess else key
        pairs = [(value[key], getattr(converted, key)) for key in value]
    elif isinstance(value, Mapping) and isinstance(converted, Mapping):
        pairs = [(value[key], converted[key]) for key in value if key in converted]
    elif isinstance(value, list | tuple) and isinstance(converted, list | tuple):
        pairs = list(zip(value, converted, strict=True))
    else:
        return None
    return next((lost for pair in pairs if (lost := _lost_key(*pair))), None)


def _unknown_key(key: str, where: str, known: list[str], file: str | Path | None) -> UsageError:
    guess = nearest(key, known)
    remedy = f"did you mean {guess!r}?" if guess else f"known: {', '.join(sorted(known))}"
    return UsageError(f"unknown key {key!r}", file=file, place=where, remedy=remedy)


def differences(old: Any, new: Any, place: str = "") -> list[tuple[str, Any, Any]]:
    """Every field in which two records (or their JSON) differ: (dotted name, old, new), for `--diff` and refusals."""
    a, b = msgspec.to_builtins(old), msgspec.to_builtins(new)
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [*a, *(key for key in b if key not in a)]
        found = [differences(a.get(key), b.get(key), f"{place}.{key}" if place else key) for key in keys]
        return [item for items in found for item in items]
    return [] if a == b else [(place, a, b)]
