"""The numbers of a stranger's tensors, read from places that `inspection` has checked; and how they are written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.errors import ArtefactError
from foretext.types import JSON, Arrays

_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
FLOATS = ("F64", "F32", "F16", "BF16")


def read(folder: Path, found: Mapping[str, list[JSON]]) -> dict[str, NDArray[Any]]:
    """The arrays, floating ones as fp32 (bf16 and fp16 widen exactly). Errors: a file that changed or is cut, a number
    that is not finite → ArtefactError naming the tensor."""
    arrays: dict[str, NDArray[Any]] = {}
    archives: dict[str, Any] = {}
    for name, (file, entry, kind, shape, start) in found.items():
        try:
            if start >= 0:
                value = _raw(folder / file, kind, shape, start)
            elif entry:
                archive = archives.get(file) or archives.setdefault(file, np.load(folder / file, allow_pickle=False))
                value = archive[entry]
            else:
                value = np.load(folder / file, allow_pickle=False)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ArtefactError(f"cannot be read: {error}", file=folder / file, place=f"tensor {name}") from error
        if kind in FLOATS:
            value = np.ascontiguousarray(value, np.float32)
            if not np.isfinite(value).all():
                raise ArtefactError("a number that is not finite", file=folder / file, place=f"tensor {name}")
        arrays[name] = value
    return arrays


def _raw(file: Path, kind: str, shape: list[int], start: int) -> NDArray[Any]:
    count = int(np.prod(shape, dtype=np.int64))
    if kind == "BF16":
        halves = np.fromfile(file, "<u2", count, offset=start).reshape(shape)
        return (halves.astype("<u4") << 16).view("<f4")
    return np.fromfile(file, _KINDS[kind], count, offset=start).reshape(shape)


def write_npz(file: Path, arrays: Arrays) -> None:
    """Write named arrays, names sorted, uncompressed: equal arrays give equal bytes."""
    np.savez(file, allow_pickle=False, **{name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})
