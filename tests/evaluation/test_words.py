"""How a word is looked up, and how the nearest rows are found: against brute force, and faiss against the exact search."""

import builtins
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tests.evaluation.vector_world import CASED, model, names

from foretext.bundle import Pretrained
from foretext.errors import ResourceError, UsageError
from foretext.evaluation.neighbors import nearest_words
from foretext.evaluation.search import Exact, Faiss, index
from foretext.evaluation.words import WordTable, word_table


def test_the_tokenizers_reading_comes_first_then_case_then_pieces() -> None:
    cased = word_table(model({"Apple": (1, 0), "apple": (0, 1), "Rome": (1, 1), "york": (2, 2), "new": (0, 2)}, config=CASED))
    assert [cased.known(word).ids for word in ("apple", "Apple", "APPLE", "rome")] == [(2,), (1,), (1,), (3,)]
    assert cased.variants(1) == [1, 2]
    joined = cased.known("new york")
    assert (joined.ids, joined.whole, joined.count) == ((5, 4), False, None)
    np.testing.assert_allclose(joined.vector, (1, 2))
    assert cased.find("old york") is None
    lower = word_table(model({"rome": (1, 1)}))
    assert lower.known("ROME").ids == (1,)


def test_only_the_most_frequent_are_known() -> None:
    table = word_table(model({"a": (1, 0), "b": (0, 0), "c": (0, 1), "d": (1, 1)}), most=3)
    assert table.searched.tolist() == [False, True, False, True, False]  # b was never trained, d is the fourth
    assert table.size == 2
    with pytest.raises(UsageError, match="'d' among its first 3"):
        table.known("d")


def test_rare_composed_and_unseen_words_are_remarked_upon() -> None:
    pretrained = model({"river": (1, 0), "青蛙": (0, 1), "bank": (1, 1)}, counts=[900, 7, 50])
    table = word_table(pretrained)
    assert table.remarks([table.known("river"), table.known("bank")]) == ["3 words compared"]
    said = table.remarks([table.known("青蛙"), table.known("river bank"), table.known("青蛙")])
    assert said[1:] == [
        "warning: 青蛙 is rare, seen 7 times: its vector says little",
        "river bank is no entry of the vocabulary: its vector is the mean of river + bank",
    ]
    spelled = WordTable(vectors=table.vectors, tokenizer=table.tokenizer, unseen=lambda word: np.array([0, 2], np.float32))
    made = spelled.known("蛙鸣")
    assert (made.ids, made.count) == ((), 0)
    assert "made from its letters" in spelled.remarks([made])[1]
    assert [n.word for n in nearest_words(spelled, ["蛙鸣"], n=2).nearest[0]] == ["青蛙", "bank"]


def test_vectors_that_came_without_counts_say_none() -> None:
    table = word_table(model({"a": (1, 0), "b": (0, 1)}, counts=[0, 0]))
    found = nearest_words(table, ["a"], n=1)
    assert found.counts == (None,)
    assert found.nearest[0][0].count is None
    assert "seen" not in found.text()
    assert "rare" not in found.text()


@pytest.fixture(scope="module")
def many() -> Pretrained:
    return model(names(700), width=8)


def test_faiss_flat_equals_the_exact_search(many: Pretrained) -> None:
    pytest.importorskip("faiss")
    table = word_table(many, most=650)
    queries = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    exact, flat = Exact(table).search(queries, 15), index(table, "flat").search(queries, 15)
    assert [[i for i, _ in hits] for hits in flat] == [[i for i, _ in hits] for hits in exact]
    np.testing.assert_allclose([[c for _, c in h] for h in flat], [[c for _, c in h] for h in exact], atol=1e-6)
    cosines = queries @ table.vectors.T / np.linalg.norm(queries, axis=1)[:, None] / np.maximum(table.norms, 1e-9)
    cosines[:, [0, *range(651, 701)]] = -2
    assert [[i for i, _ in hits] for hits in exact] == np.argsort(-cosines, axis=1)[:, :15].tolist()
    assert len(index(table, "flat").search(queries[:1], 10_000)[0]) == 650
    assert index(table, "flat").about == ""


def test_an_approximate_index_states_its_recall(many: Pretrained) -> None:
    pytest.importorskip("faiss")
    table = word_table(many)
    found = Faiss(table, cells=True)
    found._faiss.nprobe = 1  # so few that it must miss some
    exact = Exact(table).search(table.vectors[1:], 10)
    hits = found.search(table.vectors[1:], 10)
    true = np.mean([len({i for i, _ in a} & {i for i, _ in b}) / 10 for a, b in zip(hits, exact, strict=True)])
    assert 0.1 < true < 0.9
    assert abs(found.recall() - true) < 0.08
    assert f"{found.recall():.1%}" in found.about
    assert "approximate" in nearest_words(table, ["waaa"], kind="ivf").text()
    found._faiss.nprobe = 10_000
    assert found.recall() == 1.0
    with pytest.raises(UsageError, match="too few for cells"):
        index(word_table(model(names(20))), "ivf")


def test_an_unknown_index_and_a_missing_package(many: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="did you mean 'flat'"):
        index(word_table(many), "flta")
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "faiss":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ResourceError, match=r"foretext\[faiss\]"):
        index(word_table(many), "flat")


def test_questions_to_static_vectors_import_neither_torch_nor_faiss() -> None:
    code = """
import sys
from tests.evaluation.vector_world import model
from foretext.evaluation.analogy import analogy
from foretext.evaluation.neighbors import neighbors
from foretext.evaluation.similarity import similarity
import foretext.evaluation.intrinsic
m = model(["a", "b", "c", "d"])
neighbors(m, "a"), similarity(m, ["a", "b"]), analogy(m, "a", "b", "c")
assert not {"torch", "faiss", "sklearn", "matplotlib"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
