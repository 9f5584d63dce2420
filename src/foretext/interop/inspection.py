"""What lies in a stranger's model folder: configuration, vocabulary, and the name, kind, shape and place of every tensor.

`inspect` runs inside `sandbox.limited`; it reads headers and metadata only, checks every claim against the files' own
sizes, and answers plain JSON. The numbers themselves are read afterwards by `tensors.read`, from what was found here.
Read are safetensors, .npz and .npy (never pickled objects), config.json or bert_config.json, tokenizer.json, vocab.txt,
tokenizer_config.json. RLIMITs of the sandbox bound what a hostile file can cost.
"""

import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO

from foretext.errors import ArtefactError
from foretext.interop import vocabulary
from foretext.types import JSON

CONFIGS = ("config.json", "bert_config.json")
PICKLES = ("pytorch_model.bin", "model.bin", "bert_model.bin")
MOST_HEADER = 16 << 20
"""Bytes of a safetensors header; real ones have about 100 a tensor."""
MOST_CONFIG = 4 << 20
MOST_FILES = 20_000
MOST_RATIO = 100
"""How many times larger than its archive an .npz may unpack; weights hardly shrink at all."""
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""safetensors' kinds of number that weights and their buffers come in, and bytes of each."""
_NUMPY = {
    "<f8": "F64", "<f4": "F32", "<f2": "F16", "<i8": "I64", "<i4": "I32", "<i2": "I16", "|i1": "I8", "|u1": "U8", "|b1": "BOOL",
}  # fmt: skip
_NPY = re.compile(r"\{'descr': '([<>=|]?[A-Za-z]\d*)', 'fortran_order': (True|False), 'shape': \(((?:\d{1,15}, ?)*\d{0,15})\), \} *\n")
MOST_NPY = 4096
"""Bytes of an .npy header; real ones have 118."""


def inspect(folder: str) -> JSON:
    """`config`, `config_file`; `tokenizer` (as `vocabulary.inspect` gives it, or None); `tensors`: name → [file, entry
    of an archive or "", kind, shape, first byte or −1]. Errors: ArtefactError naming file and place."""
    path = Path(folder)
    config_file = next((name for name in CONFIGS if (path / name).is_file()), None)
    config = vocabulary.read_object(path / config_file, MOST_CONFIG) if config_file else None
    return {
        "config": config,
        "config_file": config_file,
        "tokenizer": vocabulary.inspect(path),
        "tensors": tensors(path),
    }


# ── tensors ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def tensors(folder: Path) -> dict[str, list[JSON]]:
    """Every tensor of the folder: the one model.safetensors, else every .safetensors, .npz or .npy there is."""
    found: dict[str, list[JSON]] = {}
    for file, part in _parts(folder):
        for name, entry in part.items():
            if name in found:
                raise ArtefactError(f"the tensor {name} stands in {found[name][0]} too", file=file)
            found[name] = entry
    if not found:
        pickled = next((name for name in PICKLES if (folder / name).is_file()), None)
        if pickled:
            raise ArtefactError(
                "a pickle can run anything when it is opened, so none is", file=folder / pickled, remedy="save it as safetensors"
            )
        raise ArtefactError("no tensors there", file=folder, remedy="expected model.safetensors, or .npz or .npy files")
    return found


def _parts(folder: Path) -> list[tuple[Path, dict[str, list[JSON]]]]:
    one = folder / "model.safetensors"
    if one.is_file():
        return [(one, _safetensors(one, one.name))]
    for suffix, read in ((".safetensors", _safetensors), (".npz", _npz), (".npy", _npy)):
        below = "**/" if suffix == ".npy" else ""
        files = sorted(f for f in folder.glob(f"{below}*{suffix}") if f.is_file())
        if len(files) > MOST_FILES:
            raise ArtefactError(f"{len(files):,} files, at most {MOST_FILES:,} are read", file=folder)
        if files:
            return [(file, read(file, file.relative_to(folder).as_posix())) for file in files]
    return []


def _safetensors(file: Path, name: str) -> dict[str, list[JSON]]:
    """8 bytes of header length, the header (JSON), then the numbers, end to end without gap or overlap."""
    size = file.stat().st_size
    with open(file, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or not 2 <= length <= min(MOST_HEADER, size - 8):
            raise ArtefactError(f"a header of {length:,} bytes in a file of {size:,}", file=file, place="header")
        header = vocabulary.as_object(handle.read(length), file, "header")
    header.pop("__metadata__", None)
    found: dict[str, list[JSON]] = {}
    spans = []
    for tensor, about in header.items():
        kind, shape, start, stop = _claims(about, file, tensor)
        if math.prod(shape) * WIDTHS[kind] != stop - start:
            raise ArtefactError(f"shape {shape} of {kind} in {stop - start:,} bytes", file=file, place=f"tensor {tensor}")
        spans.append((start, stop, tensor))
        found[tensor] = [name, "", kind, shape, 8 + length + start]
    at = 0
    for start, stop, tensor in sorted(spans):
        if start != at:
            raise ArtefactError("its bytes overlap another's, or leave a gap", file=file, place=f"tensor {tensor}")
        at = stop
    if 8 + length + at != size:
        raise ArtefactError(f"{size:,} bytes where the header lists {8 + length + at:,}", file=file, place="header")
    return found


def _claims(about: Any, file: Path, tensor: str) -> tuple[str, list[int], int, int]:
    place = f"tensor {tensor[:200]}"
    try:
        kind, shape, (start, stop) = about["dtype"], about["shape"], about["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise ArtefactError("expected dtype, shape and two data_offsets", file=file, place=place) from error
    if kind not in WIDTHS:
        raise ArtefactError(f"numbers of kind {str(kind)[:20]!r}", file=file, place=place, remedy="save it in fp32, fp16 or bf16")
    numbers = [*shape, start, stop] if isinstance(shape, list) else [None]
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 48 for n in numbers) or len(numbers) > 10:
        raise ArtefactError("expected sizes and places of whole numbers", file=file, place=place)
    return kind, shape, start, stop


def _npz(file: Path, name: str) -> dict[str, list[JSON]]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            packed, unpacked = file.stat().st_size, sum(entry.file_size for entry in entries)
            if len(entries) > MOST_FILES or unpacked > MOST_RATIO * packed:
                raise ArtefactError(f"{len(entries):,} entries of {unpacked:,} bytes in an archive of {packed:,}", file=file)
            found = {}
            for entry in entries:
                with archive.open(entry) as handle:
                    kind, shape = array_header(handle, entry.file_size, file, entry.filename)
                found[entry.filename.removesuffix(".npy")] = [name, entry.filename.removesuffix(".npy"), kind, shape, -1]
            if len(found) != len(entries):
                raise ArtefactError("two entries have one name", file=file)
            return found
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, zlib.error) as error:
        raise ArtefactError(f"not a whole .npz: {error}", file=file) from error


def _npy(file: Path, name: str) -> dict[str, list[JSON]]:
    with open(file, "rb") as handle:
        kind, shape = array_header(handle, file.stat().st_size, file, "")
    return {name.removesuffix(".npy"): [name, "", kind, shape, -1]}


def array_header(handle: BinaryIO | IO[bytes], size: int, file: Path, place: str) -> tuple[str, list[int]]:
    """Kind and shape that an .npy header claims, which must make up the file's `size`.

    The header is a Python literal, which numpy tokenises and evaluates; only the form that numpy itself writes is let
    through to it.
    """
    start = handle.read(8)
    width = {1: 2, 2: 4, 3: 4}.get(start[6] if len(start) == 8 and start[:6] == b"\x93NUMPY" else 0)
    length = int.from_bytes(handle.read(width), "little") if width else 0
    told = _NPY.fullmatch(handle.read(min(length, MOST_NPY)).decode("latin-1")) if width else None
    if width is None or told is None:
        raise ArtefactError("not an .npy array as numpy writes one", file=file, place=place)
    descr, shape = told[1], [int(n) for n in told[3].replace(",", " ").split()]
    kind = _NUMPY.get(descr)
    if kind is None:
        raise ArtefactError(f"numbers of kind {descr!r}", file=file, place=place, remedy="save it in fp32 or fp16, no objects")
    if 8 + width + length + math.prod(shape) * WIDTHS[kind] != size:
        raise ArtefactError(f"shape {shape} of {descr} in {size:,} bytes", file=file, place=place)
    return kind, shape
