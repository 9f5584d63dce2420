"""The token store: what it holds, what it holds out, and that no damaged or stale one is ever used."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext import draws
from foretext.errors import ArtefactError, DataError, UsageError
from foretext.text import parts, shards
from foretext.text import store as stores
from foretext.text.corpus import CorpusConfig, open_corpus, strings_corpus
from foretext.text.excluding import excluding
from foretext.text.store import PackedBits, TokenStore, build_store, default_cache, open_store, unigram_entropy
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, train_tokenizer
from foretext.types import Corpus

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
NOUNS = ["cat", "dog", "bird", "fish", "tree", "river", "北京", "大学", "天气", "公园"]


def document(number: int, sentences: int) -> str:
    rng = draws.generator(0, "test document", number)
    return " ".join(f"The {' '.join(rng.choice(NOUNS, 5))} of number {number}." for _ in range(sentences))


DOCUMENTS = [document(number, 1 + number % 5) + "\nA second paragraph. It ends." for number in range(120)]


def tokenizer(kind: str = "wordpiece", documents: list[str] = DOCUMENTS) -> ChunkTokenizer:
    return train_tokenizer(TokenizerConfig(kind=kind, size=300), strings_corpus(documents))  # type: ignore[arg-type]


def files(store: TokenStore) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(store.path.iterdir()) if p.suffix == ".bin"}


@pytest.mark.parametrize("kind", ["wordpiece", "words", "bpe"])
def test_it_holds_the_corpus(kind: str, tmp_path: Path) -> None:
    corpus, made = strings_corpus(DOCUMENTS), tokenizer(kind)
    store = build_store(corpus, made, tmp_path)
    sentences = list(corpus.sentences())
    assert len(store.sentences) == len(sentences) + 1
    assert len(store.documents) == len(DOCUMENTS) + 1
    assert store.documents.tolist() == [
        *(at for at, s in enumerate(sentences) if at == 0 or s.document != sentences[at - 1].document),
        len(sentences),
    ]
    texts = [string for string, _ in shards.joined(iter(sentences))]
    ids, lengths, starts = made.ids(texts)
    assert store.ids.tolist() == ids.tolist()
    assert np.diff(store.sentences).tolist() == lengths.tolist()
    assert store.word_starts[:].tolist() == starts.tolist()
    training = np.repeat(~np.asarray(store.held_out), lengths)
    assert store.counts.tolist() == np.bincount(ids[training], minlength=made.size).tolist()
    assert store.ids.dtype == (np.uint8 if made.size <= 256 else np.uint16)


def test_bytes_give_the_documents_back(tmp_path: Path) -> None:
    made = train_tokenizer(
        TokenizerConfig(kind="bpe", size=300, lowercase=False, strip_accents=False), strings_corpus(DOCUMENTS)
    )
    store = build_store(strings_corpus(DOCUMENTS), made, tmp_path)
    for number, text in enumerate(DOCUMENTS):
        first, last = store.documents[number : number + 2]
        assert store.text(int(store.sentences[first]), int(store.sentences[last])) == text


@settings(max_examples=50, deadline=None)
@given(bits=st.lists(st.booleans(), min_size=1, max_size=70), data=st.data())
def test_packed_bits(bits: list[bool], data: st.DataObject) -> None:
    packed = PackedBits(np.packbits(np.array(bits), bitorder="little"), len(bits))
    places = data.draw(st.lists(st.integers(-len(bits), len(bits) - 1), max_size=8))
    assert packed[np.array(places, dtype=np.int64)].tolist() == [bits[at] for at in places]
    start, stop = data.draw(st.integers(-80, 80)), data.draw(st.integers(-80, 80))
    assert packed[start:stop].tolist() == bits[start:stop]
    assert packed[len(bits) - 1] is bits[-1]
    assert packed[np.array([[0]])].shape == (1, 1)
    with pytest.raises(IndexError):
        packed[len(bits)]


def test_shards_and_workers_do_not_change_a_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, made = strings_corpus(DOCUMENTS), tokenizer()
    alone = files(build_store(corpus, made, tmp_path / "one", workers=0))
    monkeypatch.setattr(shards, "corpus_size", lambda corpus: shards.SMALL)
    monkeypatch.setattr(parts, "CHARACTERS", 100)
    monkeypatch.setattr(parts, "ROWS", 64)
    assert files(build_store(corpus, made, tmp_path / "eight", workers=0)) == alone
    seen: list[tuple[int, int]] = []
    two = build_store(corpus, made, tmp_path / "two", workers=2, progress=lambda *state: seen.append(state))
    assert files(two) == alone
    assert seen[-1] == (8, 8)


# ── what is held out ────────────────────────────────────────────────────────────────────────────────────────────────


def held_documents(store: TokenStore) -> set[int]:
    held = np.asarray(store.held_out)
    sides = [set(held[a:b].tolist()) for a, b in zip(store.documents[:-1], store.documents[1:], strict=True)]
    assert all(len(side) == 1 for side in sides), "a document is on both sides"
    return {number for number, side in enumerate(sides) if side == {True}}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.4])
def test_whole_documents_are_held_out(share: float, tmp_path: Path) -> None:
    store = build_store(strings_corpus(DOCUMENTS), tokenizer(), tmp_path, held_out=share)
    held = held_documents(store)
    lengths = np.diff(store.sentences)
    got = lengths[np.asarray(store.held_out)].sum() / lengths.sum()
    assert held
    assert share <= got <= 1.6 * share + 0.01


def test_every_tokenizer_holds_out_the_same_documents(tmp_path: Path) -> None:
    held = [
        held_documents(build_store(strings_corpus(DOCUMENTS), tokenizer(kind), tmp_path, held_out=0.1))
        for kind in ("wordpiece", "words", "bpe")
    ]
    assert held[0] == held[1] == held[2]
    other = build_store(strings_corpus(DOCUMENTS), tokenizer(), tmp_path, held_out=0.1, seed=1)
    assert held_documents(other) != held[0]


def test_equal_documents_stay_on_one_side(tmp_path: Path) -> None:
    store = build_store(strings_corpus(DOCUMENTS * 2), tokenizer(), tmp_path, held_out=0.1)
    held = held_documents(store)
    assert held
    assert held == {number % 120 for number in held} | {120 + number % 120 for number in held}


@pytest.mark.parametrize(("documents", "sentences"), [(1, 20), (1, 700), (3, 300), (19, 3)])
def test_few_documents_hold_out_blocks(documents: int, sentences: int, tmp_path: Path) -> None:
    texts = [document(number, sentences) for number in range(documents)]
    store = build_store(strings_corpus(texts), tokenizer(documents=texts), tmp_path)
    held = np.asarray(store.held_out)
    assert 0 < held.sum() <= 0.07 * len(held)
    total = documents * sentences
    runs = store.sections(True)
    assert (runs[:, 1] - runs[:, 0]).max() >= min(64, total // 100)


def test_a_giant_document_is_passed_over() -> None:
    """In hash order: 500 characters of 1,000, then twenty times 25. A tenth is asked for; giants only if all are."""
    weights = np.zeros(1 << 16)
    weights[3] = 500
    weights[100:120] = 25
    assert np.flatnonzero(parts._pick(weights, 0.1, 21)).tolist() == [100, 101, 102, 103]
    assert np.flatnonzero(parts._pick(weights, 0.001, 21)).tolist() == [100]
    assert not parts._pick(weights, 0.0, 21).any()


def test_nothing_or_something(tmp_path: Path) -> None:
    corpus = strings_corpus(["One sentence. Another one."])
    assert not build_store(corpus, tokenizer(), tmp_path, held_out=0).held_out.any()
    store = build_store(corpus, tokenizer(), tmp_path, held_out=0.9)
    assert store.held_out.sum() == 1
    one = build_store(strings_corpus(["Alone."]), tokenizer(), tmp_path)
    assert one.held_out.tolist() == [False]
    with pytest.raises(UsageError, match="share"):
        build_store(corpus, tokenizer(), tmp_path, held_out=1.0)


@pytest.mark.parametrize("texts", [DOCUMENTS, [document(1, 400), document(2, 30)]])
def test_sections_are_the_runs(texts: list[str], tmp_path: Path) -> None:
    store = build_store(strings_corpus(texts), tokenizer(), tmp_path, held_out=0.2)
    side = np.full(len(store.held_out), -1)
    for held in (True, False):
        sections = store.sections(held)
        assert sections.dtype == np.int64
        for first, last, number in sections.tolist():
            assert (side[first:last] == -1).all()
            side[first:last] = held
            assert store.documents[number] <= first < last <= store.documents[number + 1]
            assert first == store.documents[number] or store.held_out[first - 1] != held
            assert last == store.documents[number + 1] or store.held_out[last] != held
    assert side.tolist() == np.asarray(store.held_out).astype(int).tolist()


# ── the cache ───────────────────────────────────────────────────────────────────────────────────────────────────────


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    built: list[int] = []
    write = stores._write

    def counted(*arguments: object) -> None:
        built.append(1)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stores, "_write", counted)
    return built


def test_it_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = counting(monkeypatch)
    first = build_store(strings_corpus(DOCUMENTS), tokenizer(), tmp_path)
    again = build_store(strings_corpus(DOCUMENTS), tokenizer(), tmp_path)
    assert (len(built), first.key) == (1, again.key)
    for corpus, kind, share in [
        (strings_corpus([*DOCUMENTS, "More."]), "wordpiece", 0.01),
        (strings_corpus(DOCUMENTS), "words", 0.01),
        (strings_corpus(DOCUMENTS), "wordpiece", 0.02),
    ]:
        assert build_store(corpus, tokenizer(kind), tmp_path, held_out=share).key != first.key
    assert len(built) == 4
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".partial")]


def test_a_damaged_store_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = counting(monkeypatch)
    made = tokenizer()
    whole = files(build_store(strings_corpus(DOCUMENTS), made, tmp_path))
    path = next(p for p in tmp_path.iterdir() if p.is_dir())
    names = [*whole, "foretext.json"]
    for times, name in enumerate(names, start=2):
        data = (path / name).read_bytes()
        middle = len(data) // 2
        (path / name).write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        with pytest.raises(ArtefactError):
            open_store(path, made)
        assert files(build_store(strings_corpus(DOCUMENTS), made, tmp_path)) == whole
        assert len(built) == times
    (path / "ids.bin").unlink()
    assert files(build_store(strings_corpus(DOCUMENTS), made, tmp_path)) == whole


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    path = build_store(strings_corpus(DOCUMENTS), tokenizer(), tmp_path).path
    path.rename(tmp_path / f".partial-{path.name}-999999-abc")
    other = tmp_path / ".partial-other-999999-abc"
    other.mkdir()
    build_store(strings_corpus(DOCUMENTS), tokenizer(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == sorted([path.name, other.name])


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    store = build_store(strings_corpus(DOCUMENTS), tokenizer(), tmp_path)
    with pytest.raises(ArtefactError, match="another tokenizer"):
        open_store(store.path, tokenizer("words"))
    assert open_store(store.path, tokenizer(), verify=False).key == store.key


class Silent:
    """A corpus without a token."""

    key = "silent"

    def sentences(self, shard: int = 0, of: int = 1):  # type: ignore[no-untyped-def]
        return iter(())


def test_an_empty_corpus_leaves_nothing(tmp_path: Path) -> None:
    silent: Corpus = Silent()
    with pytest.raises(DataError, match="no token") as refused:
        build_store(silent, tokenizer(), tmp_path)
    assert refused.value.exit_code == 3
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


RACE = """
import sys
from pathlib import Path
from foretext.text.corpus import CorpusConfig, open_corpus, strings_corpus
from foretext.text.excluding import excluding
from foretext.text.store import build_store
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer

corpus = strings_corpus([f"Document {number} has words. It ends." for number in range(3000)])
store = build_store(corpus, train_tokenizer(TokenizerConfig(size=99), corpus), Path(sys.argv[1]))
print(store.key, int(store.ids.sum()), store.path.stat().st_ino)
"""


def test_two_writers_agree(tmp_path: Path) -> None:
    """The second waits for the first, and opens what the first has written."""
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) for _ in range(2)]
    first, second = (process.communicate(timeout=100)[0] for process in both)
    assert first == second != b""
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1


def test_unigram_entropy() -> None:
    assert unigram_entropy(np.array([5, 0, 5, 5, 5])) == pytest.approx(np.log(4))
    assert unigram_entropy(np.array([1, 3])) == pytest.approx(0.25 * np.log(4) + 0.75 * np.log(4 / 3))
    assert unigram_entropy(np.zeros(3, int)) == 0


def test_the_cache_has_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETEXT_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("FORETEXT_CACHE")
    assert default_cache().parts[-2:] == (".cache", "foretext")


def test_a_file_that_changes_while_it_is_read_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    file, cache = tmp_path / "text.txt", tmp_path / "cache"
    file.write_text("The river runs to the sea.\n\nThe sea is wide.\n", encoding="utf-8")
    corpus = open_corpus(str(file), CorpusConfig(language="en"))
    tokenizer = train_tokenizer(TokenizerConfig(kind="words", special=("[UNK]",)), corpus, workers=0)
    assert corpus.key
    file.write_text("The river runs to the hill.\n\nThe sea is wide.\n", encoding="utf-8")
    for changed in (corpus, excluding(corpus, ["nothing of this"])):
        with pytest.raises(DataError, match=r"text\.txt.*changed while it was read"):
            build_store(changed, tokenizer, cache, workers=0)
    assert not [path for path in cache.iterdir() if path.is_dir()]
    again = open_corpus(str(file), CorpusConfig(language="en"))
    assert len(build_store(again, tokenizer, cache, workers=0).ids) == 12
