"""One file's bytes: names, sizes, compression, samples, what cannot be read; and which files a source names."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest
import zstandard

from foretext.errors import DataError, ResourceError, UsageError
from foretext.text import sources
from foretext.text.sources import Source, find


def source(path: Path, data: bytes) -> Source:
    path.write_bytes(data)
    return Source(name=str(path), location=str(path))


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("a/B.TXT.gz", ".txt", "B.TXT"), ("a/b.jsonl", ".jsonl", "b.jsonl"), ("wiki_00.BZ2", "", "wiki_00"), ("a", "", "a"),
        ("x.tar.xz", ".tar", "x.tar"), ("x.y.zst", ".y", "x.y"),
    ],
)  # fmt: skip
def test_suffix_and_stem_look_below_the_compression(name: str, suffix: str, stem: str) -> None:
    found = Source(name=name, location="/nowhere")
    assert (found.suffix, found.stem) == (suffix, stem)


def test_what_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    for read in (lambda s: list(s.chunks()), lambda s: s.compression(), lambda s: s.sample(3)):
        with pytest.raises(UsageError, match=r"cannot be read \(No such file or directory\)") as caught:
            read(Source(name="told", location=str(tmp_path / "none")))
        assert caught.value.file == "told"


def test_trouble_while_reading_plain_bytes_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(stream: object, kind: str):  # type: ignore[no-untyped-def]
        yield b"some"
        raise OSError("the disk is gone")

    file = source(tmp_path / "a.txt", b"some text")
    monkeypatch.setattr(sources, "_reader", broken)
    with pytest.raises(UsageError, match=r"cannot be read .the disk is gone"):
        list(file.chunks())
    packed = source(tmp_path / "a.gz", gzip.compress(b"x"))
    with pytest.raises(DataError, match=r"the gz data ends badly .the disk is gone") as caught:
        list(packed.chunks())
    assert caught.value.place == "byte 4 of the text"


def test_our_own_errors_pass_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(stream: object, kind: str):  # type: ignore[no-untyped-def]
        raise ResourceError("no room")
        yield b""

    monkeypatch.setattr(sources, "_reader", refused)
    with pytest.raises(ResourceError, match="no room"):
        list(source(tmp_path / "a.gz", gzip.compress(b"x")).chunks())


PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}


@pytest.mark.parametrize("kind", PACKED)
def test_compression_is_told_from_the_first_bytes(tmp_path: Path, kind: str) -> None:
    for text in (b"", b"x", b"some text"):
        data = PACKED[kind](text)
        file = source(tmp_path / "a.txt", data)
        assert file.compression() == kind
        assert b"".join(file.chunks()) == text
        assert file.size() == len(data)
    with pytest.raises(DataError, match=f"expected {kind} data, found 70 6c 61 69") as caught:
        source(tmp_path / f"a.{kind}", b"plain").compression()
    assert (caught.value.file, caught.value.place) == (str(tmp_path / f"a.{kind}"), "byte 0")
    with pytest.raises(DataError, match="found nothing"):
        source(tmp_path / f"a.{kind}", b"").compression()
    assert source(tmp_path / "b.txt", b"BZh9 is how a text may begin").compression() == ""


def test_a_sample_says_whether_it_is_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK", 4)
    file = source(tmp_path / "a.txt", b"0123456789")
    assert [len(chunk) for chunk in file.chunks()] == [4, 4, 2]
    assert file.sample(3) == (b"012", False)
    assert file.sample(4) == (b"0123", False)
    assert file.sample(9) == (b"012345678", False)
    assert file.sample(10) == (b"0123456789", True)
    assert file.sample(99) == (b"0123456789", True)


@pytest.mark.parametrize("kind", PACKED)
def test_a_bomb_is_refused_where_it_passes_the_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = source(tmp_path / "a", PACKED[kind](bytes(1 << 21)))
    with monkeypatch.context() as patch:
        patch.setattr(sources, "RATIO", 20)
        assert sum(map(len, file.chunks())) == 1 << 21  # small enough not to matter
        patch.setattr(sources, "FREE", 1 << 20)
        with pytest.raises(DataError, match=f"a compression bomb. .* bytes of {kind}"):
            list(file.chunks())
        plain = source(tmp_path / "b", bytes(1 << 21))
        assert sum(map(len, plain.chunks())) == 1 << 21
    monkeypatch.setattr(sources, "FREE", 1 << 20)
    monkeypatch.setattr(sources, "RATIO", 1 << 20)
    assert sum(map(len, file.chunks())) == 1 << 21


def test_streams_and_frames_follow_one_another(tmp_path: Path) -> None:
    xz = lzma.compress(b"one") + bytes(8) + lzma.compress(b"two") + bytes(4)
    assert b"".join(source(tmp_path / "a.xz", xz).chunks()) == b"onetwo"
    zst = zstandard.compress(b"one") + zstandard.compress(b"") + zstandard.compress(b"two" * 9000)
    assert b"".join(source(tmp_path / "a.zst", zst).chunks()) == b"one" + b"two" * 9000
    for name, data in (("a.xz", xz[:-20]), ("a.zst", zst[:-2])):
        with pytest.raises(DataError, match="damaged or cut short"):
            list(source(tmp_path / name, data).chunks())


# ── which files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_found_once_and_named_files_whatever_they_are(tmp_path: Path) -> None:
    for name in ("b.txt", "a.TXT.gz", "c.png", ".d.txt", "wiki_00", "noname", "dump.xml-p1p41242.bz2", "x.jsonl"):
        (tmp_path / name).write_text("x")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "f.csv").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "g.txt").write_text("x")
    (tmp_path / "broken.txt").symlink_to("nowhere")
    (tmp_path / "twice.txt").symlink_to("b.txt")
    found, refused = find([tmp_path])
    names = ["a.TXT.gz", "b.txt", "dump.xml-p1p41242.bz2", "e/f.csv", "wiki_00", "x.jsonl"]
    assert [os.path.relpath(file.name, tmp_path) for file in found] == names
    assert all(file.inside and not file.remote for file in found)
    assert [os.path.relpath(name, tmp_path) for name in refused] == ["c.png", "noname"]
    found, refused = find([tmp_path / "c.png", tmp_path / "b.txt", f"{tmp_path}/*.txt", str(tmp_path / "c.png")])
    assert [os.path.basename(file.name) for file in found] == ["c.png", "b.txt"]
    assert not refused
    assert not any(file.inside for file in found)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="no file matches this pattern"):
        find([f"{tmp_path}/fold*"])
    with pytest.raises(UsageError, match="no such file or folder") as caught:
        find([tmp_path / "none"])
    assert caught.value.file == str(tmp_path / "none")


def test_remote_files_by_name_folder_and_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    files = pytest.importorskip("fsspec").filesystem("memory")
    for name in ("b.txt", "a.txt", "sub/c.txt", "picture.png"):
        files.pipe(f"/foretext-sources/{name}", name.encode())
    base = "memory://foretext-sources"
    (one,), _ = find([f"{base}/b.txt"])
    assert (one.name, one.remote, one.inside, one.size()) == (f"{base}/b.txt", True, False, 5)
    assert b"".join(one.chunks()) == b"b.txt"
    several, refused = find([base])
    assert [file.name.rpartition("foretext-sources/")[2] for file in several] == ["a.txt", "b.txt", "sub/c.txt"]
    assert all(file.remote and file.inside for file in several)
    assert len(refused) == 1
    assert refused[0].endswith("picture.png")
    matching, _ = find([f"{base}/*.txt"])
    assert [file.name.rpartition("/")[2] for file in matching] == ["a.txt", "b.txt"]
    for nothing in (f"{base}/none.txt", f"{base}/*.csv"):
        with pytest.raises(UsageError, match="nothing found at this address") as caught:
            find([nothing])
        assert caught.value.file == nothing

    def unreachable(self: object, path: str, **rest: object) -> bool:
        raise OSError("no route to host")

    monkeypatch.setattr(type(files), "exists", unreachable)
    with pytest.raises(UsageError, match=r"cannot be reached .no route to host"):
        find([f"{base}/b.txt"])
    monkeypatch.setattr(type(files), "size", lambda self, path: None)
    assert one.size() == 0


def test_an_address_whose_package_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")

    def missing(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(ResourceError, match="Install s3fs") as caught:
        find(["s3://bucket/key"])
    assert caught.value.file == "s3://bucket/key"
