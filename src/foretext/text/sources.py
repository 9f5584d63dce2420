"""Where a corpus's bytes come from: paths, folders, globs, standard input, URLs; and out of which compression.

Everything is read in chunks; no file is ever held whole. A file is recognised as compressed by its first bytes.
"""

import atexit
import bz2
import glob
import gzip
import lzma
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Literal, TypeAlias

from foretext import pickles
from foretext.errors import DataError, ForetextError, ResourceError, UsageError, no_file

Compression: TypeAlias = Literal["", "gz", "bz2", "xz", "zst"]

CHUNK = 1 << 20
"""Bytes read at a time."""

_MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gz",
    b"BZ": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
}
_BZIP2 = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
"""A block, or the end, after "BZh9": two letters alone could start a text."""
_SUFFIXES: dict[str, Compression] = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}
RATIO = 1_000
"""Most bytes that one compressed byte may become: text reaches 20, and many copies of a line 300."""
FREE = 1 << 25
"""Bytes that come out before the ratio is looked at."""
XZ_MEMORY = 1 << 28
"""Bytes that an xz stream may ask its reader for; `xz -9` asks for 65 MiB, a forged header for 4 GiB."""
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file. `name` is what messages call it; `location` is a local path, or a URL that fsspec opens.
    `inside`: found in a folder, not named by the user."""

    name: str
    location: str
    remote: bool = False
    inside: bool = False

    @property
    def suffix(self) -> str:
        """The lower-case suffix below any compression suffix: "a/B.TXT.gz" → ".txt"."""
        path = PurePosixPath(self.name)
        return (path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path).suffix.lower()

    @property
    def stem(self) -> str:
        """The file name without a compression suffix."""
        path = PurePosixPath(self.name)
        return path.stem if path.suffix.lower() in _SUFFIXES else path.name

    def size(self) -> int:
        """Bytes as stored (0 where a remote file system does not say)."""
        if not self.remote:
            return os.path.getsize(self.location)
        files, path = _file_system(self.location)
        return int(files.size(path) or 0)

    @contextmanager
    def raw(self) -> Iterator[BinaryIO]:
        """The bytes as stored; seekable."""
        try:
            if self.remote:
                files, path = _file_system(self.location)
                stream = files.open(path, "rb")
            else:
                stream = open(self.location, "rb")  # noqa: SIM115  (closed below)
        except OSError as error:
            raise UsageError(f"cannot be read ({error.strerror or error})", file=self.name) from error
        with stream:
            yield stream

    def compression(self) -> Compression:
        """Told from the first bytes; a compressed suffix over other bytes is damage (DataError), and a pickle is
        refused (ArtefactError)."""
        with self.raw() as stream:
            head = stream.read(pickles.HEAD)
        pickles.refuse(self.name, head)
        for magic, kind in _MAGIC.items():
            if head.startswith(magic) and (kind != "bz2" or head[4:10] in _BZIP2):
                return kind
        promised = _SUFFIXES.get(PurePosixPath(self.name).suffix.lower(), "")
        if promised:
            raise DataError(
                f"expected {promised} data, found {head[:4].hex(' ') or 'nothing'}",
                file=self.name,
                place="byte 0",
                remedy="fetch or compress the file again, or rename it",
            )
        return ""

    def chunks(self) -> Iterator[bytes]:
        """The decompressed bytes, about `CHUNK` at a time. Damage anywhere, or a compression bomb, is one DataError."""
        kind = self.compression()
        done = 0
        with self.raw() as stream:
            reader = _reader(stream, kind)
            while True:
                try:
                    chunk = next(reader, b"")
                except ForetextError:
                    raise
                except _DAMAGE as error:
                    if not kind:
                        raise UsageError(f"cannot be read ({error})", file=self.name) from error
                    raise DataError(
                        f"damaged or cut short: the {kind} data ends badly ({error or type(error).__name__})",
                        file=self.name,
                        place=f"byte {done} of the text",
                        remedy="fetch or compress the file again",
                    ) from error
                if not chunk:
                    return
                done += len(chunk)
                if kind and done > FREE and done > RATIO * max(1, stream.tell()):
                    raise DataError(
                        f"a compression bomb? {stream.tell():,} bytes of {kind} became more than {done >> 20:,} MiB",
                        file=self.name,
                        place=f"byte {stream.tell()}",
                        remedy="if it is wanted, decompress it first",
                    )
                yield chunk

    def sample(self, size: int) -> tuple[bytes, bool]:
        """The first `size` decompressed bytes, and whether that is all of the file."""
        parts: list[bytes] = []
        have = 0
        for chunk in self.chunks():
            parts.append(chunk)
            have += len(chunk)
            if have > size:
                return b"".join(parts)[:size], False
        return b"".join(parts), True


def _reader(stream: BinaryIO, kind: Compression) -> Iterator[bytes]:
    if kind in ("zst", "xz"):
        yield from _zstandard(stream) if kind == "zst" else _xz(stream)
        return
    opened: Any = stream
    if kind == "gz":
        opened = gzip.GzipFile(fileobj=stream)
    elif kind == "bz2":
        opened = bz2.BZ2File(stream)
    while chunk := opened.read(CHUNK):
        yield chunk


def _zstandard(stream: BinaryIO) -> Iterator[bytes]:
    """Frames one after another. Fed 4 KiB at a time, so that even a bomb (32,000 : 1) stays under 150 MB a chunk;
    unlike the package's own stream reader this notices a frame that ends too early."""
    import zstandard

    machine = zstandard.ZstdDecompressor()
    frame: Any = None
    while data := stream.read(4096):
        while data:
            frame = frame or machine.decompressobj()
            try:
                out = frame.decompress(data)
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from error
            if out:
                yield out
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last frame is incomplete")


def _xz(stream: BinaryIO) -> Iterator[bytes]:
    """Streams one after another, within `XZ_MEMORY` whatever the header asks for (lzma.LZMAFile has no such limit)."""
    machine, begun, data = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY), False, b""
    while data or not machine.needs_input or (data := stream.read(1 << 16)):
        if not begun and not (data := data.lstrip(b"\0")):  # NULs may pad the space between streams
            continue
        out = machine.decompress(data, CHUNK)
        begun, data = True, b""
        if out:
            yield out
        if machine.eof:
            data, begun = machine.unused_data, False
            machine = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
    if begun:
        raise EOFError("the last stream is incomplete")


def _file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system and its own path for `url`."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ResourceError(
            f"reading this address needs a package that is not installed ({error})",
            file=url,
            remedy="install the package it names, or copy the files here",
        ) from error
    except ValueError as error:
        raise UsageError(f"unknown kind of address ({error})", file=url) from error
    return files, str(path)


TEXT_SUFFIXES = frozenset(
    {".txt", ".text", ".tokens", ".raw", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".xml"}
)
"""What is read from a folder, under any compression suffix."""


def find(sources: Sequence[str | Path]) -> tuple[list[Source], list[str]]:
    """Every file that `sources` name, in their order (inside folders and globs: sorted), each once; and the names of
    files that lie in a folder but are no text by their suffix. A source that does not exist is a UsageError."""
    found: dict[str, Source] = {}
    refused: list[str] = []
    for source in sources:
        for file in _expand(str(source)):
            if file.inside and not _is_text(file):
                refused.append(file.name)
            else:
                found.setdefault(file.location, file)
    return list(found.values()), refused


def _is_text(file: Source) -> bool:
    """By its name; parts of a Wikipedia dump are called ….xml-p1p41242, WikiExtractor's files wiki_00."""
    if not file.suffix:
        return file.stem.startswith("wiki_")
    return file.suffix in TEXT_SUFFIXES or file.suffix.startswith(".xml-p")


def _expand(source: str) -> Iterator[Source]:
    if source == "-":
        yield Source(name="<standard input>", location=_spooled_input())
    elif "://" in source:
        yield from _remote(source)
    elif os.path.isdir(source):
        yield from _folder(source)
    elif os.path.isfile(source):
        yield Source(name=source, location=os.path.realpath(source))
    elif os.path.exists(source):  # a pipe, as in <(zcat …): it can be read only once
        with open(source, "rb") as stream:
            yield Source(name=source, location=_spool(stream))
    elif any(mark in source for mark in "*?["):
        matches = sorted(path for path in glob.glob(source, recursive=True) if os.path.isfile(path))
        if not matches:
            raise UsageError("no file matches this pattern", file=source)
        for path in matches:
            yield Source(name=path, location=os.path.realpath(path))
    else:
        raise no_file(source)


def _folder(folder: str) -> Iterator[Source]:
    """All visible files below `folder`, sorted by path; linked folders are not followed, so no loop is possible."""
    names: list[str] = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names.extend(os.path.join(where, name) for name in files if not name.startswith("."))
    for name in sorted(names):
        if os.path.isfile(name):
            yield Source(name=name, location=os.path.realpath(name), inside=True)


def _remote(url: str) -> Iterator[Source]:
    files, path = _file_system(url)
    start = url.split("://", 1)[0] + "://"
    try:
        several = any(mark in path for mark in "*?[") and not start.startswith("http")
        if several:
            names = sorted(files.glob(path))
        elif not files.exists(path):
            names = []
        elif files.isdir(path):
            several, names = True, sorted(files.find(path))
        else:
            names = [path]
    except (OSError, ImportError) as error:
        raise UsageError(f"cannot be reached ({error})", file=url) from error
    if not names:
        raise UsageError("nothing found at this address", file=url)
    if not several:
        yield Source(name=url, location=url, remote=True)
        return
    for name in names:
        address = str(files.unstrip_protocol(name))
        yield Source(name=address, location=address, remote=True, inside=True)


@cache
def _spooled_input() -> str:
    """Standard input, read once, as a temporary file."""
    return _spool(sys.stdin.buffer)


def _spool(stream: IO[bytes]) -> str:
    handle, path = tempfile.mkstemp(prefix="foretext-input-")
    atexit.register(Path(path).unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as copy:
        shutil.copyfileobj(stream, copy, CHUNK)
    return path
