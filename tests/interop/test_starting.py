"""Runs that start from another program's vectors: a file counts as the folder that `convert` makes of it, no more and no less."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretext import api
from foretext.bundle import STATIC_TABLE, Pretrained, load_pretrained
from foretext.cli import main, run, train
from foretext.errors import ArtefactError, Preempted, UsageError
from foretext.evaluation.neighbors import Words, neighbors
from foretext.first_vectors import KEY
from foretext.interop.convert import convert
from foretext.interop.vectors import as_pretrained, open_vectors, to_vectors
from foretext.ladder.origins import opened_source
from foretext.ladder.plan import rung
from foretext.pretraining import Setting
from foretext.text.corpus import strings_corpus
from foretext.training.progress import SilentWatch
from interop.test_fasttext_file import model as fasttext_model
from ladder.world import write_world

TEXT = [f"the ship {i} sails to the harbour and the sea is wide" for i in range(30)]
WORDS = ["sea", "the", "wide", "frog", "river"]
"""Of a file; the text has the first three."""
FAMILY = {"width": 6, "min_count": 3, "block": 100, "epochs": 1.0, "sample": 0.0}
GLOVE = {"width": 6, "min_count": 3, "epochs": 1.0}
PLAIN = ("word2vec", "word2vec-binary", "glove", "fasttext-vec", "spacy")


def vectors_file(folder: Path, layout: str = "glove") -> Path:
    rows = np.random.default_rng(0).standard_normal((len(WORDS), 6)).astype(np.float32)
    text = folder / "given.txt"
    text.write_text("\n".join(f"{word} {' '.join(map(repr, row.tolist()))}" for word, row in zip(WORDS, rows, strict=True)))
    if layout == "glove":
        return text
    to_vectors(as_pretrained(text), folder / f"given-{layout}", layout)
    return folder / f"given-{layout}"


def trained(out: Path, recipe: str = "word2vec", **given: Any) -> Pretrained:
    family = GLOVE if recipe == "glove" else {**FAMILY, **given.pop("family", {})}
    config = {"family": family, "held_out": 0.1, "limits": {"evaluations": 1}}
    setting = Setting(threads=1, device="cpu", workers=0, cache=out.parent / "cache")
    return api.pretrain(recipe, strings_corpus(TEXT), out, config=config, setting=setting, **given)


def row(model: Pretrained, word: str) -> np.ndarray:
    return np.asarray(model.arrays[STATIC_TABLE][list(model.tokenizer.pieces).index(word)])


def alike(one: Pretrained, other: Pretrained) -> bool:
    same = one.key == other.key and list(one.tokenizer.pieces) == list(other.tokenizer.pieces) and set(one.arrays) == set(other.arrays)
    return same and all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


@pytest.mark.parametrize("layout", PLAIN)
def test_going_on_from_a_file_is_going_on_from_its_folder(layout: str, tmp_path: Path) -> None:
    """And rows that stand still are the file's, bit for bit; words of the text that it lacks follow, and learn."""
    file = vectors_file(tmp_path, layout)
    convert(file, tmp_path / "folder", "foretext")
    given = load_pretrained(tmp_path / "folder")
    assert open_vectors(file).key == given.key
    made = trained(tmp_path / "a", source=file, family={"frozen": "given"})
    assert alike(made, trained(tmp_path / "b", source=tmp_path / "folder", family={"frozen": "given"}))
    assert list(made.tokenizer.pieces)[:6] == ["[UNK]", *WORDS] and made.provenance.source == given.key
    assert np.array_equal(made.arrays[STATIC_TABLE][:6], given.arrays[STATIC_TABLE])
    assert row(made, "harbour").any()
    free = trained(tmp_path / "c", source=str(file))
    assert np.array_equal(row(free, "frog"), row(given, "frog")) and not np.array_equal(row(free, "sea"), row(given, "sea"))


def test_words_of_a_file_are_not_said_to_be_rare(tmp_path: Path) -> None:
    """How often their text had them nobody knows, and the few counts of the new text do not change that."""
    made = trained(tmp_path / "a", source=vectors_file(tmp_path))
    found = neighbors(made, "frog", n=3)
    assert isinstance(found, Words) and found.counts == (None,) and "rare" not in found.text() and "seen" not in found.text()
    longer = api.extend(as_pretrained(vectors_file(tmp_path)), strings_corpus(TEXT), tmp_path / "b").pretrained
    assert "harbour" in longer.tokenizer.pieces and not np.any(longer.tokenizer.counts)  # type: ignore[attr-defined]


def test_first_vectors_from_a_file_are_those_of_its_folder(tmp_path: Path) -> None:
    file = vectors_file(tmp_path, "word2vec-binary")
    convert(file, tmp_path / "folder", "foretext")
    given = load_pretrained(tmp_path / "folder")
    made = trained(tmp_path / "a", init_embeddings=file, family={"frozen": "given"})
    assert alike(made, trained(tmp_path / "b", init_embeddings=tmp_path / "folder", family={"frozen": "given"}))
    assert made.recipe.init_embeddings == f"{KEY}{given.key}" and made.provenance.init["from"] == given.key
    free = trained(tmp_path / "c", init_embeddings=str(file))
    for word in ("sea", "the", "wide"):
        assert np.array_equal(row(made, word), row(given, word)) and not np.array_equal(row(free, word), row(given, word))
    assert "frog" not in made.tokenizer.pieces and row(made, "harbour").any()


def test_fasttexts_own_file(tmp_path: Path) -> None:
    """Its n-grams come along; as first vectors each word has what the file's n-grams make of it."""
    fasttext_model(bucket=40).save(tmp_path / "m")
    convert(tmp_path / "m", tmp_path / "m.bin", "fasttext")
    convert(tmp_path / "m.bin", tmp_path / "folder", "foretext")
    made = trained(tmp_path / "a", "fasttext", source=tmp_path / "m.bin")
    assert alike(made, trained(tmp_path / "b", "fasttext", source=tmp_path / "folder"))
    assert made.recipe.family.bucket == 40  # type: ignore[attr-defined]
    lent = trained(tmp_path / "c", init_embeddings=tmp_path / "m.bin", family={"frozen": "given"})
    told = as_pretrained(tmp_path / "m.bin").spelled(["the", "harbour"])
    assert told is not None
    assert np.array_equal(row(lent, "the"), told[0]) and np.array_equal(row(lent, "harbour"), told[1])


def test_glove_goes_on_from_its_own_text_and_forgets_no_word(tmp_path: Path) -> None:
    file = vectors_file(tmp_path)
    made = trained(tmp_path / "a", "glove", source=file)
    pieces = list(made.tokenizer.pieces)
    assert (made.recipe.family.name, pieces[: 1 + len(WORDS)]) == ("glove", ["[UNK]", *WORDS])
    assert "harbour" in pieces[1 + len(WORDS) :], "the text's own words follow"
    given = as_pretrained(file)
    for word in ("frog", "river"):  # which the text lacks
        assert np.array_equal(row(made, word), row(given, word))
    assert not np.array_equal(row(made, "sea"), row(given, "sea"))
    again = trained(tmp_path / "b", "glove", source=tmp_path / "a")
    assert np.array_equal(row(again, "frog"), row(given, "frog"))


DAMAGED = {
    "huge": (b"3000000000 300\nthe 1 2\n", "line 1: the header claims 3000000000 words"),
    "short": (b"2 2\nthe 1 2\n", "line 3"),
    "binary": (b"1 2\nthe \x00\x00\x80\x3f", "word 1: the file ends inside a vector"),
    "letters": (b"the river\n", "line 1"),
    "twice": (b"the 1 2\nthe 3 4\n", "twice"),
    "pickle": (b"\x80\x04.", "pickle"),
    "fasttext": (b"\xba\x16O/\x0c\x00\x00\x00", "args: the file ends too early"),
}


@pytest.mark.parametrize("option", ["--from", "--init-embeddings"])
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_error_before_anything_is_read(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("v").write_bytes(DAMAGED[name][0])
    Path("text.txt").write_text("the river\n")
    with pytest.raises(SystemExit) as left:
        main(["pretrain", "word2vec", "text.txt", "--out", "m", option, "v"])
    told = capsys.readouterr().err
    assert (left.value.code, told.count("\n")) == (4, 1) and DAMAGED[name][1] in told, told
    with pytest.raises(ArtefactError) as error:
        convert(Path("v"), Path("folder"), "foretext")
    assert error.value.message in told
    assert {path.name for path in tmp_path.iterdir()} == {"v", "text.txt"}


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = vectors_file(tmp_path)
    with pytest.raises(UsageError, match=r"trains fasttext, the model to go on from is word2vec; .*--init-embeddings"):
        trained(tmp_path / "m", "fasttext", source=file)
    with pytest.raises(UsageError, match=r"6 numbers wide, the model's embeddings 8"):
        trained(tmp_path / "m", init_embeddings=file, family={"width": 8})
    with pytest.raises(UsageError, match="not both"):
        trained(tmp_path / "m", source=file, init_embeddings=file)
    with pytest.raises(UsageError, match="init_embeddings needs a family that can encode; ngram cannot"):
        api.pretrain("ngram", strings_corpus(TEXT), tmp_path / "m", init_embeddings=file)
    with pytest.raises(UsageError, match="no such folder"):
        trained(tmp_path / "m", source=tmp_path / "absent")
    with pytest.raises(UsageError, match="a pretrained folder or a file of word vectors; check the spelling"):
        trained(tmp_path / "m", init_embeddings="absent")
    assert not (tmp_path / "m").exists() and not (tmp_path / "m.run").exists()


class Stop(SilentWatch):
    def report(self, step: int, report: object) -> None:
        raise Preempted("stopped here")


@pytest.mark.parametrize("option", ["source", "init_embeddings"])
def test_a_run_is_resumed_with_the_same_vectors_only(option: str, tmp_path: Path) -> None:
    file = vectors_file(tmp_path)
    straight = trained(tmp_path / "s", **{option: file})
    with pytest.raises(Preempted):
        trained(tmp_path / "m", watch=Stop(), **{option: file})
    (tmp_path / "other").write_text(file.read_text().replace("frog", "toad"))
    with pytest.raises(ArtefactError, match="another store, source" if option == "source" else "another recipe"):
        trained(tmp_path / "m", resume=True, **{option: tmp_path / "other"})
    file.rename(tmp_path / "moved")
    assert alike(trained(tmp_path / "m", resume=True, **{option: tmp_path / "moved"}), straight)


def test_torch_is_not_imported(tmp_path: Path) -> None:
    code = """
import sys
from foretext import api
from foretext.text.corpus import strings_corpus
text, config = strings_corpus(["the sea is wide"] * 9), {"family": {"width": 6, "min_count": 1, "epochs": 1.0}}
for number, given in enumerate(({"source": sys.argv[1]}, {"init_embeddings": sys.argv[1]})):
    api.pretrain("word2vec", text, f"{sys.argv[2]}/{number}", config=config, **given)
print("torch" in sys.modules)
"""
    file = vectors_file(tmp_path)
    ran = subprocess.run([sys.executable, "-c", code, file, tmp_path], capture_output=True, text=True)
    assert ran.stdout == "False\n", ran.stderr


def test_a_dry_run_opens_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    file, asked = vectors_file(tmp_path), list[Any]()
    Path("text.txt").write_text("\n".join(TEXT))
    monkeypatch.setattr(train, "dry_run", lambda *_, **given: asked.append(given) or {})
    for option in ("--from", "--init-embeddings"):
        run(["pretrain", "word2vec", "text.txt", "--out", "m", "--dry-run", option, str(file)])
    key = as_pretrained(file).key
    assert [(one["source"] and one["source"].key, one["vectors"] and one["vectors"].key) for one in asked] == [(key, None), (None, key)]


def test_a_ladders_rungs_take_files_too(tmp_path: Path) -> None:
    """As a source they are known by their content; as first vectors they are part of what a pretraining cell is."""
    file, config = vectors_file(tmp_path), write_world(tmp_path)
    opened_source.cache_clear()
    taken = rung(replace(config, rungs=("given",), sources={"given": str(file)}), "given")
    assert taken.source is not None and taken.hows == ("features",) and not taken.trained
    settings = {"word2vec": {"init_embeddings": str(file), "family": {"width": 6}}}
    first = replace(config, rungs=("word2vec",), settings=settings)
    found = rung(first, "word2vec")
    assert found.vectors is not None and found.identity["init_embeddings"] == f"{KEY}{as_pretrained(file).key}"
    file.write_text(file.read_text().replace("frog", "toad"))
    assert rung(first, "word2vec").identity != found.identity
