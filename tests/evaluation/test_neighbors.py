"""Nearest words and nearest occurrences against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretext.bundle import SOURCE, Pretrained, build_model
from foretext.errors import DataError, UsageError
from foretext.evaluation.neighbors import nearest_words, neighbors
from foretext.evaluation.query import highlighted, parse_query
from foretext.evaluation.words import word_table
from foretext.models.bert.config import BertConfig
from foretext.models.word2vec.config import Word2VecConfig
from foretext.recipe import Recipe
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, train_tokenizer

ENGLISH = [
    "The bank of the river was green. They sat on the Bank and fished.",
    "The bank lent money to the farmer. Money is kept in a bank, they say.",
    "A green field lay by the river. The farmer sat there.",
]
CHINESE = ["我喜欢吃苹果。苹果公司发布了新手机。", "他在北京工作。北京是中国的首都。"]
WORDS = TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",))


@pytest.fixture(scope="module")
def static() -> Pretrained:
    tokenizer = train_tokenizer(WORDS, strings_corpus([*ENGLISH, *CHINESE]))
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((tokenizer.size, 6)).astype(np.float32)
    vectors[0] = 0
    vectors[7] = 0
    recipe = Recipe(name="w", family=Word2VecConfig(width=6), tokenizer=WORDS)
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays={"encoders.text.table.weight": vectors})


@pytest.fixture(scope="module")
def bert() -> Pretrained:
    tokenizer = train_tokenizer(TokenizerConfig(size=90), strings_corpus([*ENGLISH, *CHINESE]))
    family = BertConfig(layers=2, width=16, heads=2, inner=32, positions=40, initial_sd=0.5, dropout=0.0)
    recipe = Recipe(name="tiny", family=family, tokenizer=tokenizer.config)
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=build_model(recipe, tokenizer.size).arrays())


@pytest.mark.parametrize("rows", [3, 1 << 22])
def test_nearest_words_are_those_of_brute_force(static: Pretrained, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretext.evaluation.search._CELLS", rows)
    found = neighbors(static, "River 苹果", n=5)
    assert found.words == ("River", "苹果")
    tokenizer, vectors = static.tokenizer, static.vectors
    for word, nearest in zip(("river", "苹果"), found.nearest, strict=True):
        own = list(tokenizer.pieces).index(word)
        cosines = {
            piece: float(vectors[i] @ vectors[own] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[own]))
            for i, piece in enumerate(tokenizer.pieces)
            if i not in (0, 7, own)
        }
        best = sorted(cosines, key=lambda piece: -cosines[piece])[:5]
        assert [n.word for n in nearest] == best
        np.testing.assert_allclose([n.cosine for n in nearest], [cosines[b] for b in best], rtol=1e-5)
    assert isinstance(tokenizer, ChunkTokenizer)
    assert found.counts[0] == tokenizer.counts[list(tokenizer.pieces).index("river")] == 2
    assert found.as_json()["words"][1]["word"] == "苹果"
    assert "River (seen 2 times)" in found.text()


def test_asking_for_more_than_there_are(static: Pretrained) -> None:
    nearest = neighbors(static, "bank", n=10_000).nearest[0]
    assert len(nearest) == static.tokenizer.size - 3
    assert "[UNK]" not in {n.word for n in nearest}


def test_a_marked_word_is_enough_for_static_vectors(static: Pretrained) -> None:
    assert neighbors(static, "the [bank] lent", n=3).nearest == neighbors(static, "bank", n=3).nearest


def test_unknown_words_offer_the_nearest(static: Pretrained) -> None:
    with pytest.raises(UsageError, match=r"'rivre'; did you mean river"):
        neighbors(static, "rivre")
    with pytest.raises(UsageError, match=r"'苹果树'; did you mean 苹果"):
        nearest_words(word_table(static), ["苹果树"])
    untrained = static.tokenizer.pieces[7]
    with pytest.raises(UsageError, match="does not know"):
        neighbors(static, untrained)
    with pytest.raises(UsageError, match="does not know"):
        neighbors(static, "")
    with pytest.raises(UsageError, match="the same in every sentence"):
        neighbors(static, "bank", corpus=strings_corpus(ENGLISH))


def test_pieces_of_a_word_are_averaged(bert: Pretrained) -> None:
    tokenizer = bert.tokenizer
    found = nearest_words(word_table(bert), ["苹果"], n=4)
    own = [list(tokenizer.pieces).index("苹"), list(tokenizer.pieces).index("果")]
    query = table(bert)[own].mean(axis=0)
    cosines = table(bert) @ query / np.linalg.norm(table(bert), axis=1) / np.linalg.norm(query)
    cosines[[*tokenizer.special.values(), *own]] = -2
    assert [n.word for n in found.nearest[0]] == [tokenizer.pieces[i] for i in np.argsort(-cosines)[:4]]


def table(bert: Pretrained) -> np.ndarray:
    return bert.arrays[next(n for n in bert.arrays if n.endswith("table.weight"))]


def test_a_word_alone_is_asked_of_the_embeddings(bert: Pretrained) -> None:
    found = neighbors(bert, "苹果", n=4)
    assert found.nearest == nearest_words(word_table(bert), ["苹果"], n=4).nearest
    assert "before any context" in found.text()


def occurrence_vectors(bert: Pretrained, sentence: str, span: tuple[int, int]) -> list[np.ndarray]:
    item = bert.encode([sentence])[0]
    inside = [i for i, (a, b) in enumerate(item.offsets.tolist()) if a >= span[0] and b <= span[1]]
    return [layer[inside].mean(axis=0) for layer in item.layers]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize(("query", "texts", "word"), [("He rowed to the [bank].", ENGLISH, "bank"), ("【苹果】很好吃。", CHINESE, "苹果")])
def test_nearest_occurrences_layer_by_layer(bert: Pretrained, query: str, texts: list[str], word: str) -> None:
    corpus = strings_corpus(texts)
    found = neighbors(bert, query, corpus=corpus, n=6, same_word=True)
    parsed = parse_query(query)
    asked = occurrence_vectors(bert, parsed.string, parsed.marked)
    places = []
    for sentence in corpus.sentences():
        low = sentence.string.lower()
        places += [(sentence.string, (i, i + len(word))) for i in range(len(low)) if low.startswith(word, i)]
    assert len(places) == (4 if word == "bank" else 2)
    for number, layer in enumerate(found.layers):
        expected = sorted((cosine(occurrence_vectors(bert, *p)[number], asked[number]) for p in places), reverse=True)
        np.testing.assert_allclose([o.cosine for o in layer], expected[:6], atol=1e-5)
        assert {o.word.lower() for o in layer} == {word}
    assert len(found.layers) == 3
    assert f"[{word}]" in found.text().lower()
    assert found.as_json()["sentences"] == {"read": found.read, "with_word": found.with_word, "encoded": found.encoded}


def test_any_word_may_be_nearest(bert: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = strings_corpus(ENGLISH)
    every = neighbors(bert, "The [bank] of the river was wide.", corpus=corpus, n=500)
    words = [o.word for o in every.layers[2]]
    assert len(words) == 40
    assert {"bank", "Money", "there"} <= set(words)
    assert [o.cosine for o in every.layers[1]] == sorted((o.cosine for o in every.layers[1]), reverse=True)
    monkeypatch.setattr("foretext.evaluation.occurrences._CHUNK", 2)
    again = neighbors(bert, "The [bank] of the river was wide.", corpus=corpus, n=5)
    np.testing.assert_allclose([o.cosine for o in again.layers[2]], [o.cosine for o in every.layers[2][:5]], atol=1e-5)


def test_the_sample_is_bounded_repeats_and_prefers_the_word(bert: Pretrained) -> None:
    texts = [f"the river {i} is green." for i in range(40)] + [f"the bank {i} is green." for i in range(5)]
    found = neighbors(bert, "one [bank] here", corpus=strings_corpus(texts), n=3, most=20)
    assert (found.read, found.with_word, found.encoded) == (45, 5, 20)
    again = neighbors(bert, "one [bank] here", corpus=strings_corpus(texts), n=3, most=20)
    assert again.layers == found.layers
    few = neighbors(bert, "one [bank] here", corpus=strings_corpus(texts), n=30, most=3, same_word=True)
    assert few.encoded == 3
    assert len(few.layers[0]) == 3
    assert "in 20 of 45 sentences" in found.text()


def test_the_querys_own_sentence_is_left_out(bert: Pretrained) -> None:
    found = neighbors(bert, "The [bank] lent money to the farmer.", corpus=strings_corpus(ENGLISH), same_word=True)
    assert all("lent" not in o.sentence for layer in found.layers for o in layer)


def test_contextual_errors(bert: Pretrained) -> None:
    with pytest.raises(UsageError, match=r"--in CORPUS"):
        neighbors(bert, "the [bank] of")
    with pytest.raises(UsageError, match="one word in brackets"):
        neighbors(bert, "the bank of", corpus=strings_corpus(ENGLISH))
    with pytest.raises(DataError, match="no sentence with 'tomato'"):
        neighbors(bert, "the [tomato]", corpus=strings_corpus(ENGLISH), same_word=True)


@pytest.mark.parametrize(
    ("query", "string", "word"),
    [
        ("a [bank] b", "a bank b", "bank"),
        ("吃【苹果】了", "吃苹果了", "苹果"),
        (r"a \[x\] [bank]", "a [x] bank", "bank"),
        (r"back\\slash [ y ]", r"back\slash  y ", "y"),
        (r"\n [y]", r"\n y", "y"),
        ("[New York] now", "New York now", "New York"),
    ],
)
def test_queries(query: str, string: str, word: str) -> None:
    parsed = parse_query(query)
    assert (parsed.string, parsed.word) == (string, word)


@pytest.mark.parametrize("query", ["a [b", "a b]", "[a] [b]", "[[a]]", "a [] b", "[ ]", "[a】", "【a] b"])
def test_wrong_queries(query: str) -> None:
    with pytest.raises(UsageError, match="expected one word in brackets"):
        parse_query(query)


@given(st.text(alphabet="ab \\[]【】中", max_size=12), st.text(alphabet="b中[]", min_size=1, max_size=4), st.text(max_size=6))
def test_any_text_can_be_asked_about_when_escaped(before: str, word: str, after: str) -> None:
    def escaped(text: str) -> str:
        return "".join("\\" + c if c in "[]【】\\" else c for c in text)

    parsed = parse_query(f"{escaped(before)}[{escaped(word)}]{escaped(after)}")
    assert parsed.string == before + word + after
    assert parsed.marked == (len(before), len(before) + len(word))


def test_surroundings_are_cut_and_said_so() -> None:
    assert highlighted("0123456789", (4, 6), 2) == "…23[45]67…"
    assert highlighted("one\n two", (5, 8)) == "one [two]"
