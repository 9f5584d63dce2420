"""Files that run code when they are loaded: told by name and by first bytes, and refused unread.

foretext has no loader for them at all; this only turns "some parser failed on it" into a message that says what to do.
"""

from pathlib import Path, PurePath

from foretext.errors import ArtefactError

NAMES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy"})
"""Endings that promise a pickle, or an array file that may hold one. `.bin` is not among them: word2vec's vectors are
called so too, and the bytes tell."""
HEAD = 16
"""First bytes that `refuse` looks at."""
_ZIP = b"PK\x03\x04"
"""torch.save writes a zip archive around its pickle."""


def refuse(file: str, head: bytes) -> None:
    """ArtefactError (exit 4) when `file` is a pickle, a torch checkpoint or an .npy array by its name or its `head`."""
    path = PurePath(file)
    suffix = path.suffix.lower()
    pickled = head[:1] == b"\x80" and 2 <= head[1:2][0] <= 5 if len(head) > 1 else False
    if pickled or head.startswith(b"\x93NUMPY") or suffix in NAMES or (suffix == ".bin" and head.startswith(_ZIP)):
        raise ArtefactError(
            "a pickle can run any code when it is loaded, and is never read here",
            file=file,
            remedy="save tensors as .safetensors, and texts as .txt, .jsonl or .csv",
        )


def refuse_file(file: Path) -> None:
    """The same for a file on disk; one that cannot be read is left to whoever reads it."""
    try:
        with open(file, "rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return
    refuse(str(file), head)
