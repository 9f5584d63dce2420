"""Sealed folders: the one way this package writes artefacts.

A sealed folder is files + a manifest (`foretext.json`: kind, content key, meta, size and SHA-256 of every file, a
digest of every tensor). It is written under a temporary name, every file and folder is fsynced, then it takes its
place in one step and the parent is fsynced: a reader finds the old folder or the new one, never half of either, also
after a power cut that loses whatever was not synced. Nothing is deleted before what replaces it is durable. No pickle.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from foretext.disk import draft_of, fsync, make_folder, publish, recover, remove, remove_leftovers
from foretext.errors import ArtefactError, ResourceError, UsageError
from foretext.types import JSON

MANIFEST = "foretext.json"
FORMAT = 1
"""Version of the manifest itself; what a kind holds has its own version in `meta`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeal:
    """One file's seal: `size` in bytes, SHA-256, and for safetensors a digest a tensor (so damage can name it)."""

    size: int
    sha256: str
    tensors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An opened sealed folder."""

    path: Path
    kind: str
    key: str
    meta: JSON
    files: Mapping[str, FileSeal]


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def sealing(
    path: Path, *, kind: str, key: str = "", meta: JSON = None, replace: bool = False
) -> Iterator[Path]:
    """Yield a temporary sibling folder; what is written into it becomes the sealed folder `path` on a normal exit.

    On an exception the temporary folder is removed and nothing has changed. An existing `path` is refused (UsageError)
    unless `replace`. A full disk is a ResourceError. What a killed writer of the same `path` left is removed first.
    """
    path = Path(path)
    if path.exists() and not replace:
        raise _taken(path)
    draft = draft_of(path)
    try:
        make_folder(path.parent)
        recover(path)
        remove_leftovers(path.parent, path.name)
        try:
            draft.mkdir()
            yield draft
            _seal(draft, kind=kind, key=key, meta=meta)
        except BaseException:
            remove(draft)
            raise
        _publish(draft, path, replace=replace)
    except OSError as error:
        raise ResourceError(f"cannot write: {error.strerror or error}", file=path, remedy="free some disk space") from error


def _publish(draft: Path, path: Path, *, replace: bool) -> None:
    try:
        publish(draft, path, replace=replace)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and not replace:
            raise _taken(path) from error  # another writer's came first
        raise


def _taken(path: Path) -> UsageError:
    return UsageError("the output folder exists already", file=path, remedy="choose another, or remove it first")


def _seal(draft: Path, *, kind: str, key: str, meta: JSON) -> None:
    files = {name: _seal_file(draft / name) for name in _file_names(draft)}
    manifest = {"format": FORMAT, "kind": kind, "key": key, "meta": meta, "files": files}
    body = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
    # The manifest seals itself too: its own digest stands in front, so a flipped bit in a key or a meta is noticed.
    seal = hashlib.sha256(body).hexdigest()
    (draft / MANIFEST).write_bytes(b'{"seal":"' + seal.encode() + b'","manifest":' + body + b"}\n")
    for name in (*files, MANIFEST):
        fsync(draft / name)
    for folder in sorted((p for p in draft.rglob("*") if p.is_dir()), reverse=True):
        fsync(folder)
    fsync(draft)


def _seal_file(file: Path) -> FileSeal:
    tensors = {}
    if file.suffix == ".safetensors":
        tensors = {name: _digest(array) for name, array in read_arrays(file).items()}
    return FileSeal(size=file.stat().st_size, sha256=_sha256(file), tensors=tensors)


def is_finished(out: Path) -> bool:
    """Whether `out` is there, whole. Then OUT.run, which its maker may have had no time to remove, goes."""
    if not is_sealed(out):
        return False
    remove(_work_of(out))
    return True


def _work_of(out: Path) -> Path:
    named = out if out.name not in ("", "..") else out.resolve()
    return named.with_name(named.name + ".run")


_OF_NOTHING = {"run.json", "log.jsonl", ".checkpoints.lock"}
"""Files of a run that has no checkpoint: what it was going to do, its first losses, and a killed one's lock."""


def work_folder(out: Path, *, resume: bool) -> Path:
    """OUT.run, found or to be made; UsageError when `out` exists, or a run is under way and `resume` was not asked for.

    What a run leaves that ended before it had saved anything stands in nobody's way; a batch that made it diverge is kept."""
    if out.exists():
        raise _taken(out)
    work = _work_of(out)
    if not resume and work.exists() and {file.name for file in work.rglob("*") if file.is_file()} <= _OF_NOTHING:
        remove(work)
    if work.exists() and not resume:
        raise UsageError(
            "an unfinished run for this folder is there", file=work, remedy="--resume continues it; or remove it first"
        )
    return work


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_sealed(path: Path) -> bool:
    """Whether `path` is a finished sealed folder (its checksums unread)."""
    return (Path(path) / MANIFEST).is_file()


def open_sealed(path: Path, *, kind: str | None = None, verify: bool = True) -> Sealed:
    """Open a sealed folder and (by default) check every byte of it.

    Errors: no such path → UsageError; no manifest, another kind, a missing, surplus, truncated or altered file →
    ArtefactError naming the file and, in safetensors, the tensor.
    """
    path = Path(path)
    recover(path)
    if not path.exists():
        raise UsageError("no such folder", file=path)
    if not path.is_dir() or not is_sealed(path):
        raise ArtefactError(f"not a foretext folder: it has no {MANIFEST}", file=path)
    sealed = _read_manifest(path)
    if kind is not None and sealed.kind != kind:
        raise ArtefactError(f"expected a folder of kind {kind}, found one of kind {sealed.kind}", file=path)
    _check_names(sealed)
    if verify:
        verify_files(sealed)
    return sealed


def _read_manifest(path: Path) -> Sealed:
    file = path / MANIFEST
    try:
        raw = file.read_bytes()
        outer = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        body = bytes(outer["manifest"])
        seal = msgspec.json.decode(outer["seal"], type=str)
        whole = raw == b'{"seal":"' + seal.encode() + b'","manifest":' + body + b"}\n"
        if set(outer) != {"seal", "manifest"} or not whole or hashlib.sha256(body).hexdigest() != seal:
            raise ArtefactError("the manifest does not match its own checksum", file=file, remedy="restore the folder from a copy")
        manifest = msgspec.json.decode(body)
        files = msgspec.convert(manifest["files"], dict[str, FileSeal])
        if manifest["format"] != FORMAT:
            raise ArtefactError(f"manifest format {manifest['format']}, this version reads {FORMAT}", file=file)
        return Sealed(path=path, kind=manifest["kind"], key=manifest["key"], meta=manifest["meta"], files=files)
    except (OSError, msgspec.MsgspecError, UnicodeError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(f"the manifest is damaged: {error}", file=file, remedy="restore the folder from a copy") from error


def _check_names(sealed: Sealed) -> None:
    found = set(_file_names(sealed.path))
    for name in sorted(set(sealed.files) - found):
        raise ArtefactError("a file of the folder is missing", file=sealed.path / name, remedy="restore the folder from a copy")
    for name in sorted(found - set(sealed.files)):
        raise ArtefactError("a file that the manifest does not list", file=sealed.path / name, remedy="remove it")


def verify_files(sealed: Sealed) -> None:
    """Compare every file with its seal; ArtefactError names the first that differs, and its first altered tensor."""
    for name, seal in sealed.files.items():
        file = sealed.path / name
        try:
            size, same = file.stat().st_size, _sha256(file) == seal.sha256
        except OSError as error:
            raise ArtefactError(f"cannot read: {error.strerror or error}", file=file, remedy="restore it from a copy") from error
        if size != seal.size:
            raise ArtefactError(f"{size:,} bytes where {seal.size:,} were written", file=file, remedy="restore it from a copy")
        if not same:
            place = _altered_tensor(file, seal)
            raise ArtefactError("the checksum differs from what was written", file=file, place=place, remedy="restore it from a copy")


def _altered_tensor(file: Path, seal: FileSeal) -> str:
    if not seal.tensors:
        return ""
    try:
        arrays = read_arrays(file)
    except ArtefactError:
        return "header"
    for name, digest in seal.tensors.items():
        if name not in arrays or _digest(arrays[name]) != digest:
            return f"tensor {name}"
    return "header"


# ── locks, arrays, JSON ─────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the inter-process lock of `path` (a file beside it, `.NAME.lock`). Without `wait`, a lock that another
    process holds is a UsageError. The kernel frees it when the process dies, however it dies."""
    path = Path(path)
    file = path.parent / f".{path.name}.lock"
    try:
        make_folder(path.parent)
        handle = _lock(file, path, wait=wait)
    except OSError as error:
        raise ResourceError(f"cannot write: {error.strerror or error}", file=path.parent) from error
    try:
        yield
    finally:
        remove(file)  # still held: whoever waits for it sees that the name is gone, and tries again
        os.close(handle)


def _lock(file: Path, path: Path, *, wait: bool) -> int:
    while True:
        handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.stat(file).st_ino == os.fstat(handle).st_ino:
                return handle
        except FileNotFoundError:
            pass
        except BlockingIOError as error:
            os.close(handle)
            raise UsageError("another foretext process is writing here", file=path, remedy="wait for it, or choose another folder") from error
        os.close(handle)


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays as safetensors, names sorted, so equal arrays give equal bytes. `metadata`: what other
    programs ask of the header. A full disk is a ResourceError."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # asarray, not ascontiguousarray: that would make a lone number (a scalar mix's gamma) an array of one.
    whole = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    try:
        save_file(whole, file, metadata=dict(metadata) if metadata else None)
    except SafetensorError as error:  # how it reports what the system refused
        raise ResourceError(f"cannot write: {error}", file=file, remedy="free some disk space") from error


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Read a safetensors file; damage is an ArtefactError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(file)
    except FileNotFoundError as error:
        raise ArtefactError("a file of the folder is missing", file=file) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtefactError(f"not a whole safetensors file: {error}", file=file, remedy="restore it from a copy") from error


def write_json(file: Path, value: JSON) -> None:
    """Write JSON (keys sorted, indented) so that a reader sees the old file or the new, never half."""
    file = Path(file)
    draft = draft_of(file)
    try:
        make_folder(file.parent)
        remove_leftovers(file.parent, file.name)
        try:
            draft.write_bytes(_json(value))
            fsync(draft)
            os.replace(draft, file)
        finally:
            remove(draft)
        fsync(file.parent)
    except OSError as error:
        raise ResourceError(f"cannot write: {error.strerror or error}", file=file, remedy="free some disk space") from error


def read_json(file: Path, *, exact: bool = False) -> JSON:
    """Read JSON; a missing or damaged file is an ArtefactError. `exact`: so is one whose bytes are not just those that
    `write_json` writes, were it by a space."""
    file = Path(file)
    try:
        raw = file.read_bytes()
        value = msgspec.json.decode(raw)
    except OSError as error:
        raise ArtefactError(f"a file of the folder is missing: {error.strerror}", file=file) from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ArtefactError(f"damaged JSON: {error}", file=file) from error
    if exact and raw != _json(value):
        raise ArtefactError("damaged JSON: its bytes are not as they were written", file=file)
    return value


def _json(value: JSON) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


def write_record(file: Path, value: JSON) -> None:
    """`write_json` with a seal: {"seal": the value's fingerprint, "value": the value}."""
    write_json(file, {"seal": fingerprint(value), "value": value})


def read_record(file: Path) -> JSON:
    """What `write_record` wrote; ArtefactError where one bit of it differs."""
    record = read_json(file, exact=True)
    if not isinstance(record, dict) or set(record) != {"seal", "value"} or record["seal"] != fingerprint(record["value"]):
        raise ArtefactError("it does not match its own checksum", file=file, remedy="restore it from a copy, or remove it")
    return record["value"]


def fingerprint(*parts: bytes | str | JSON) -> str:
    """A 32-digit hex content key of bytes, strings and JSON-able values (dataclasses too), order and borders counted."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else msgspec.json.encode(part, order="sorted")
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


def _file_names(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    return sorted(name for name in names if name != MANIFEST)


def _sha256(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _digest(array: NDArray[Any]) -> str:
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
