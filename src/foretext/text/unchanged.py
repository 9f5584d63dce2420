"""Whether a file still has the bytes that its digest was taken of, without reading it again where that can be known.

A file whose device, inode, size, time of last write (mtime) and time of last change (ctime) are as they were has the
bytes it had: every write sets ctime, and no program can set it back. These times are no finer than the file system's
clock, though, so a file that was written shortly before its digest may be written again without a trace (git calls such
entries racy). It is read again; so are files whose stamp is another, and files on other machines, which have no stamp.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from typing import TypeAlias

from foretext.text.sources import CHUNK, Source

SETTLED = 60
"""Seconds without a write before a file's digest, for its stamp to be believed: more than the two of the coarsest clock in
use (FAT), than the half minute for which Linux may keep what was written through a mapping, and than clocks differ that
agree at all."""

Stamp: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was: the digest of its bytes as stored, and its stamp before they were read (None: not to be believed)."""

    digest: str
    stamp: Stamp | None


def read(source: Source) -> Seen:
    """Read the file from its first byte to its last."""
    whole = hashlib.blake2b(digest_size=16)
    with source.raw() as stream:
        stamp = None if source.remote else _stamp(stream.fileno(), settled=True)
        while chunk := stream.read(CHUNK):
            whole.update(chunk)
    return Seen(whole.hexdigest(), stamp)


def look_again(source: Source, before: Seen) -> Seen:
    """The file as it is now; it is read only where `before`'s stamp does not tell. UsageError where it is gone."""
    if before.stamp is not None:
        with source.raw() as stream:  # opening asks a network's file system anew, which a mere stat need not
            if _stamp(stream.fileno()) == before.stamp:
                return before
    return read(source)


def _stamp(handle: int, *, settled: bool = False) -> Stamp | None:
    """`settled`: None where the last change is too near to tell it from another one."""
    now, about = time.time_ns(), os.fstat(handle)
    if settled and max(about.st_mtime_ns, about.st_ctime_ns) + SETTLED * 1_000_000_000 >= now:
        return None
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
