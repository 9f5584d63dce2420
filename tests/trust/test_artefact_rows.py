"""TRUST.md section 2, rows 26 and 27: files that would run code, forged tokenizers, and archives that would burst."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from foretext.bundle import load_pretrained
from foretext.errors import DataError, ExitCode, ForetextError
from foretext.folder import open_sealed, sealing
from foretext.text.sources import Source
from trust.command import leave, refused

Capture = pytest.CaptureFixture[str]

# ── row 26: no pickle is ever loaded ────────────────────────────────────────────────────────────────────────────────


class Payload:
    """Unpickled, it makes the file `pwned`."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.mkdir, ("pwned",)


def pickled(name: str) -> bytes:
    """A payload as a file of this name would hold it."""
    if name.endswith((".npy", ".npz")):
        out = io.BytesIO()
        array = np.array([Payload()], dtype=object)
        np.save(out, array, allow_pickle=True) if name.endswith(".npy") else np.savez(out, a=array)
        return out.getvalue()
    raw = pickle.dumps(Payload(), protocol=0 if "0" in name else 4)
    if name.endswith((".pt", ".bin")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:  # as torch.save writes it
            archive.writestr("archive/data.pkl", raw)
            archive.writestr("archive/version", "3")
        return out.getvalue()
    return raw


NAMES = ("a.pkl", "protocol0.pkl", "a.pt", "a.bin", "a.npy")
PLACES: dict[str, tuple[list[str], ExitCode]] = {
    "pretrain --from": (["pretrain", "bert-budget", "corpus.txt", "--out", "x", "--from", "FILE"], ExitCode.ARTEFACT),
    "pretrain's corpus": (["pretrain", "word2vec", "FILE", "--out", "x"], ExitCode.ARTEFACT),
    "show": (["show", "bert-budget", "FILE"], ExitCode.ARTEFACT),
    "transfer's model": (["transfer", "FILE", "classify", "train.csv", "--out", "x"], ExitCode.ARTEFACT),
    "predict's model": (["predict", "FILE", "corpus.txt"], ExitCode.ARTEFACT),
    "evaluate's model": (["evaluate", "FILE", "train.csv"], ExitCode.ARTEFACT),
    "encode's model": (["encode", "FILE", "corpus.txt", "--out", "v.npz"], ExitCode.ARTEFACT),
    "neighbors": (["neighbors", "FILE", "ship"], ExitCode.ARTEFACT),
    "fill": (["fill", "FILE", "the ___"], ExitCode.ARTEFACT),
    "score": (["score", "FILE", "corpus.txt"], ExitCode.ARTEFACT),
    "info": (["info", "FILE"], ExitCode.ARTEFACT),
    "convert": (["convert", "FILE", "y", "--to", "foretext"], ExitCode.ARTEFACT),
    # a labelled file and texts to be read are known by their ending before a byte is read
    "transfer's labels": (["transfer", "model", "classify", "FILE", "--out", "x"], ExitCode.ARTEFACT),
    "predict's texts": (["predict", "classifier", "FILE"], ExitCode.ARTEFACT),
    "--config": (["pretrain", "bert-budget", "corpus.txt", "--out", "x", "--config", "FILE"], ExitCode.ARTEFACT),
}


@pytest.mark.parametrize("place", PLACES)
def test_row_26_a_pickle_is_refused_wherever_it_is_given_and_never_loaded(world: Path, capsys: Capture, place: str) -> None:
    words, code = PLACES[place]
    for name in NAMES:
        (world / name).write_bytes(pickled(name))
        refused([name if word == "FILE" else word for word in words], code, (name,), capsys)
        assert not (world / "pwned").exists()
    # the payload itself works: this test could fail
    pickle.loads(pickled("a.pkl"))
    assert (world / "pwned").exists()


def test_row_26_a_pickle_under_a_text_s_name(world: Path, capsys: Capture) -> None:
    (world / "a.txt").write_bytes(pickled("a.pkl"))
    (world / "a.csv").write_bytes(pickled("a.pkl"))
    refused(["pretrain", "word2vec", "a.txt", "--out", "x"], ExitCode.ARTEFACT, ("a.txt", "pickle"), capsys)
    refused(["transfer", "model", "classify", "a.csv", "--out", "x"], ExitCode.ARTEFACT, ("a.csv", "pickle"), capsys)
    assert not (world / "pwned").exists()


# ── row 26: a forged folder, sealed as we seal it ───────────────────────────────────────────────────────────────────


def forge(world: Path, change: Callable[[Path], None]) -> Path:
    """The folder `model` with something changed, and every checksum made to fit."""
    sealed = open_sealed(world / "model")
    with sealing(world / "forged", kind=sealed.kind, key=sealed.key, meta=sealed.meta) as draft:
        for name in sealed.files:
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(world / "model" / name, draft / name)
        change(draft)
    return world / "forged"


def rules(**changes: object) -> Callable[[Path], None]:
    def change(draft: Path) -> None:
        file = draft / "tokenizers" / "text" / "tokenizer.json"
        value = json.loads(file.read_text())
        value["config"].update(changes)
        file.write_text(json.dumps(value))

    return change


def raw(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda draft: (draft / name).write_bytes(data) and None


RULES = "tokenizers/text/tokenizer.json"
FORGERIES: dict[str, Callable[[Path], None]] = {
    "depth": raw(RULES, b"[" * 100_000),
    "objects in depth": raw(RULES, b'{"config":' * 50_000),
    "a huge size": rules(size=10**30),
    "a size below 0": rules(size=-1),
    "a number where text belongs": rules(kind=7),
    "an unknown kind": rules(kind="regex"),
    "a regular expression": rules(pattern="(a+)+$"),
    "specials that repeat": rules(special=["[PAD]", "[PAD]"]),
    "specials that are not there": rules(special=["[NEVER]"]),
    "no vocabulary": raw("tokenizers/text/vocab.txt", b""),
    "pieces that are no text": raw("tokenizers/text/vocab.txt", b"\xff\xfe\n"),
    "a vocabulary of one long line": raw("tokenizers/text/vocab.txt", b"a" * 5_000_000),
    "a recipe of another shape": raw("recipe.json", b'{"family": {"name": "bert", "layers": "many"}}'),
    "a recipe of an unknown family": raw("recipe.json", b'{"family": {"name": "os.system"}}'),
    "a family that is no object": raw("recipe.json", b'{"family": []}'),
    "a recipe in depth": raw("recipe.json", b"[" * 100_000),
    "weights that are a pickle": lambda draft: (draft / "weights.safetensors").write_bytes(pickled("a.pkl")) and None,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_row_26_a_forged_folder_is_refused(world: Path, capsys: Capture, name: str) -> None:
    try:
        forge(world, FORGERIES[name])
    except ForetextError:
        assert name == "weights that are a pickle"  # it cannot even be sealed
        (world / "forged").mkdir()
    code, _, err = leave(["fill", "forged", "the ___"], capsys)
    assert code == ExitCode.ARTEFACT, err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert load_pretrained("model").tokenizer.size > 0


# ── row 27: archives and bombs ──────────────────────────────────────────────────────────────────────────────────────


def tar(kind: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        if kind == "a path upwards":
            info = tarfile.TarInfo("../../escaped.txt")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
        else:
            info = tarfile.TarInfo("inner.txt")
            info.type = {"a symbolic link": tarfile.SYMTYPE, "a hard link": tarfile.LNKTYPE, "a device": tarfile.CHRTYPE}[kind]
            info.linkname = "/etc/passwd"
            archive.addfile(info)
    return out.getvalue()


def packed_zip(kind: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../escaped.txt" if kind == "a path upwards" else "bomb.txt", b"a" * 1_000_000)
    return out.getvalue()


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("kind", ["a path upwards", "a symbolic link", "a hard link", "a device", "zip: a path upwards", "zip: a bomb"])
def test_row_27_archives_are_refused_unopened(
    world: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, kind: str, ending: str
) -> None:
    monkeypatch.setenv("FORETEXT_CACHE", str(world / "cache"))
    data = packed_zip(kind.removeprefix("zip: ")) if kind.startswith("zip") else tar(kind)
    name = f"corpus.{'zip' if kind.startswith('zip') else 'tar'}{ending}"
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}[ending]
    (world / name).write_bytes(pack(data))
    refused(["pretrain", "word2vec", name, "--out", "x"], ExitCode.DATA, (name, "archive", "take the text out of it first"), capsys)
    (world / "labels.csv").write_bytes(data)
    code, _, err = leave(["transfer", "model", "classify", "labels.csv", "--out", "x"], capsys)
    assert code in (ExitCode.DATA, ExitCode.ARTEFACT), err
    assert not any(world.rglob("escaped.txt")) and not any((above / "escaped.txt").exists() for above in world.parents)


def bomb(ending: str, size: int = 40 << 20) -> bytes:
    """`size` bytes of text in a few kilobytes."""
    unit = b"a" * (1 << 20)
    if ending == "zst":
        machine = zstandard.ZstdCompressor(level=3).compressobj()
        return b"".join(machine.compress(unit) for _ in range(size >> 20)) + machine.flush()
    if ending == "gz":
        machine_gz = gzip.zlib.compressobj(9, gzip.zlib.DEFLATED, 31)  # type: ignore[attr-defined]
        return b"".join(machine_gz.compress(unit) for _ in range(size >> 20)) + machine_gz.flush()
    machine_other = bz2.BZ2Compressor() if ending == "bz2" else lzma.LZMACompressor(preset=0)
    return b"".join(machine_other.compress(unit) for _ in range(size >> 20)) + machine_other.flush()


BURST = """
import resource, sys
from foretext.cli import main
from foretext.text.corpus import open_corpus
next(open_corpus(["corpus.txt"]).sentences())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    main(["pretrain", "word2vec", sys.argv[1], "--out", "x"])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_row_27_a_bomb_is_told_by_its_ratio_in_bounded_memory(world: Path, ending: str) -> None:
    (world / f"bomb.txt.{ending}").write_bytes(bomb(ending))
    chunks = Source(name=f"bomb.txt.{ending}", location=str(world / f"bomb.txt.{ending}")).chunks()
    with pytest.raises(DataError, match=f"a compression bomb. [0-9,]+ bytes of {ending} became more than") as caught:
        assert max(map(len, chunks)) < 160 << 20
    assert "decompress it first" in caught.value.remedy


def test_row_27_a_labelled_bomb(world: Path, capsys: Capture) -> None:
    (world / "bomb.csv.gz").write_bytes(bomb("gz"))
    refused(["evaluate", "classifier", "bomb.csv.gz"], ExitCode.DATA, ("bomb.csv.gz", "a compression bomb?"), capsys)


def test_row_27_the_command_says_so_in_bounded_memory(world: Path) -> None:
    (world / "bomb.txt.xz").write_bytes(bomb("xz"))
    found = subprocess.run([sys.executable, "-c", BURST, "bomb.txt.xz"], capture_output=True, text=True)
    assert found.returncode == ExitCode.DATA, found.stderr
    last = found.stderr.splitlines()[-1]
    assert last.startswith("foretext: bomb.txt.xz:byte ")
    assert "a compression bomb?" in last
    assert "Traceback" not in found.stderr
    assert int(found.stdout.split()[-1]) < 120_000, "KiB"


def test_row_27_a_well_packed_text_is_no_bomb(world: Path) -> None:
    """Repetitive text of an honest ratio passes, and so does a small file of any ratio."""
    (world / "small.txt.zst").write_bytes(zstandard.compress(b"a" * 1_000_000))
    assert sum(map(len, Source(name="small.txt.zst", location=str(world / "small.txt.zst")).chunks())) == 1_000_000
    rng = np.random.default_rng(0)
    line = rng.bytes(400).hex().encode() + b"\n"
    with gzip.open(world / "log.txt.gz", "wb", compresslevel=1) as file:
        for _ in range(100_000):
            file.write(line)
    assert sum(map(len, Source(name="log.txt.gz", location=str(world / "log.txt.gz")).chunks())) == 100_000 * len(line)


def test_row_27_an_xz_header_cannot_ask_for_gigabytes(world: Path, capsys: Capture) -> None:
    (world / "a.txt.xz").write_bytes(_with_dictionary(lzma.compress(b"a text.\n", preset=0)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(["pretrain", "word2vec", "a.txt.xz", "--out", "x"], ExitCode.DATA, ("a.txt.xz", "xz data ends badly"), capsys)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def _with_dictionary(data: bytes) -> bytes:
    """The block header of an .xz stream with a dictionary of 4 GiB − 1 (size byte 40), its CRC made to fit."""
    import zlib

    start = 12  # the stream header is 12 bytes; then header size, flags, filter id, size of properties, properties
    length = (data[start] + 1) * 4
    block = bytearray(data[start : start + length])
    assert block[2] == 0x21
    block[4] = 40
    block[-4:] = zlib.crc32(bytes(block[:-4])).to_bytes(4, "little")
    return data[:start] + bytes(block) + data[start + length :]
