"""Rendering: the template's special tokens, what happens over the limit, and who owns a word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.data.batches import pack, pack_by_length
from foretext.data.render import Example, Fit, Rendered, _longest_first, render, render_all, tally
from foretext.errors import DataError, UsageError
from foretext.types import Place, Template, Text
from miniature import BERT, SPECIAL, MiniTokenizer

CLS, SEP = SPECIAL["[CLS]"], SPECIAL["[SEP]"]
TOKENIZER = MiniTokenizer()
WINDOWS = Fit()
GPT = Template(start="[CLS]", between="[MASK]", end="[SEP]", summary="end", both_orders=True)
words = st.lists(st.text("abc", min_size=1, max_size=14), max_size=40).map(" ".join)


def example(*sides: str) -> Example:
    return Example(options=(tuple((Text(string=s),) for s in sides),), place=Place(file="dev.tsv", line=3))


def ids_of(string: str) -> list[int]:
    return TOKENIZER.encode([Text(string=string)])[0].ids.tolist()


def show(
    template: Template, *sides: str, reads: str = "joint", fit: Fit = WINDOWS, limit: int | None = None
) -> list[Rendered]:
    return render(example(*sides), TOKENIZER, template, reads, fit, limit)  # type: ignore[arg-type]


def test_bert_reads_a_pair_in_one_sequence() -> None:
    (one,) = show(BERT, "abc abcd", "xyz")
    a, b = ids_of("abc abcd"), ids_of("xyz")
    assert one.ids.tolist() == [CLS, *a, SEP, *b, SEP]
    assert one.segment.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert one.word.tolist() == [-1, 0, 1, 1, -1, 2, -1]
    assert one.owned.tolist() == [False, True, True, True, False, True, False]
    assert one.summary == 0


def test_gpt_reads_both_orders_and_words_have_one_owner() -> None:
    first, second = show(GPT, "abc", "xyz")
    a, b = ids_of("abc"), ids_of("xyz")
    assert first.ids.tolist() == [CLS, *a, SPECIAL["[MASK]"], *b, SEP]
    assert second.ids.tolist() == [CLS, *b, SPECIAL["[MASK]"], *a, SEP]
    assert (first.side, second.side) == (0, 1)
    assert second.summary == len(second) - 1
    assert second.word.tolist() == [-1, 1, -1, 0, -1]
    assert not second.owned.any()
    assert tally([[first, second]]).tokens == 2


def test_static_reads_sides_apart_and_whole() -> None:
    left, right = show(Template(), "a " * 900, "b", reads="apart")
    assert (len(left), len(right)) == (900, 1)
    assert left.summary is None
    assert (left.side, right.side) == (0, 1)
    assert right.word.tolist() == [900]


def test_options_and_parts() -> None:
    story, endings = Text(string="once upon"), (Text(string="end"), Text(string="the other end"))
    given_ = Example(options=tuple(((story, Text(string="time")), (e,)) for e in endings))
    one, two = render(given_, TOKENIZER, BERT)
    assert [one.option, two.option] == [0, 1]
    assert one.ids.tolist() == [CLS, *ids_of("once upon"), *ids_of("time"), SEP, *ids_of("end"), SEP]
    numbers = [w for r in (one, two) for w in r.word.tolist() if w >= 0]
    assert sorted(set(numbers)) == list(range(3 + 1 + 3 + 3))


def test_refuse_says_where_and_what() -> None:
    with pytest.raises(
        DataError, match=r"dev\.tsv:line 3: the text has 50 tokens, and the model reads at most 14.*fit\.policy"
    ):
        show(BERT, "a " * 50, fit=Fit(policy="refuse"), limit=16)
    with pytest.raises(UsageError, match="leaves no room"):
        show(BERT, "a", "b", limit=4)
    with pytest.raises(UsageError, match="stride"):
        Fit(stride=-1)


@pytest.mark.parametrize(
    ("side", "kept"), [("end", range(8)), ("start", range(12, 20)), ("middle", [0, 1, 2, 3, 16, 17, 18, 19])]
)
def test_cut_keeps_the_other_end(side: str, kept: list[int]) -> None:
    string = " ".join(f"{i:03d}" for i in range(20))
    (one,) = show(BERT, string, fit=Fit(policy="cut", side=side), limit=10)  # type: ignore[arg-type]
    assert one.ids[1:-1].tolist() == [ids_of(string)[i] for i in kept]
    assert one.word[1:-1].tolist() == list(kept)
    assert one.cut == 12


def test_the_longest_side_is_cut_first() -> None:
    assert _longest_first([10, 4], 9) == [5, 4]
    assert _longest_first([10, 4], 7) == [4, 3]  # a tie takes from the second, as google-research/bert does
    assert _longest_first([3, 3], 10) == [3, 3]
    assert _longest_first([], 0) == []


@settings(deadline=None, max_examples=150)
@given(
    text=words,
    other=st.one_of(st.none(), words),
    limit=st.integers(8, 40),
    policy=st.sampled_from(["cut", "window"]),
    side=st.sampled_from(["end", "start", "middle"]),
    stride=st.integers(0, 20),
    most=st.sampled_from([0, 0, 1, 2, 3]),
    template=st.sampled_from([BERT, GPT, Template()]),
)
def test_nothing_exceeds_and_every_shown_word_has_one_owner(
    text: str, other: str | None, limit: int, policy: str, side: str, stride: int, most: int, template: Template
) -> None:
    fit = Fit(policy=policy, side=side, stride=stride, most_windows=most)  # type: ignore[arg-type]
    sides = (text,) if other is None else (text, other)
    rendered = show(template, *sides, fit=fit, limit=limit)
    encoded = [TOKENIZER.encode([Text(string=s)])[0] for s in sides]
    full_ids = np.concatenate([e.ids for e in encoded])
    shift = len(text.split())
    full_word = np.concatenate([encoded[0].word, *(e.word + shift for e in encoded[1:])])
    owners: dict[int, set[int]] = {}
    shown: set[int] = set()
    for index, one in enumerate(rendered):
        assert len(one) <= limit
        marks = one.word < 0
        assert marks.sum() == bool(template.start) + bool(template.end) + (len(sides) - 1) * bool(template.between)
        shown |= set(one.word[~marks].tolist())
        for word in one.word[one.owned].tolist():
            owners.setdefault(word, set()).add(index)
        for word in np.unique(one.word[~marks]):  # a word's pieces, in order, are a part of its own
            mine, whole = one.ids[one.word == word], full_ids[full_word == word]
            assert mine.tolist() in [whole[i : i + len(mine)].tolist() for i in range(len(whole))] or side == "middle"
    assert all(len(o) == 1 for o in owners.values())
    cut = sum(one.cut for one in rendered)
    total = tally([rendered])
    assert total.tokens == len(full_ids)
    assert total.cut == cut
    if policy == "window" and not most and other is None:
        assert cut == 0
        assert set(owners) == set(range(shift)) == shown
        for one in rendered:  # a word that fits into a window stands in its owner whole
            for word in set(one.word[one.owned].tolist()):
                size = int((full_word == word).sum())
                if size <= limit - int((one.word < 0).sum()):
                    assert (one.word == word).sum() == size
        if len(rendered) == 1:
            assert rendered[0].ids[rendered[0].word >= 0].tolist() == full_ids.tolist()


def test_windows_share_the_stride_and_the_middle_one_owns() -> None:
    string = " ".join("w" for _ in range(30))
    rendered = show(BERT, string, fit=Fit(stride=4), limit=14)
    assert [r.word[1:-1].tolist() for r in rendered] == [
        [*range(12)],
        [*range(8, 20)],
        [*range(16, 28)],
        [*range(24, 30)],
    ]
    owned = [r.word[r.owned].tolist() for r in rendered]
    assert owned == [[*range(10)], [*range(10, 18)], [*range(18, 26)], [*range(26, 30)]]
    assert [r.fresh for r in rendered] == [12, 8, 8, 2]
    told = tally([rendered, show(BERT, "a b")])
    assert str(told) == "1 of 2 texts exceed the limit by 56.2 % of all tokens; 0.0 % were cut"
    assert str(tally([show(BERT, "a b")])) == "all 1 texts fit"


def test_of_two_equal_windows_the_first_owns() -> None:
    rendered = show(BERT, " ".join("w" for _ in range(22)), fit=Fit(stride=3), limit=14)
    assert [r.word[1:-1].tolist() for r in rendered] == [[*range(12)], [*range(9, 21)], [*range(18, 22)]]
    assert [r.word[r.owned].tolist() for r in rendered] == [[*range(11)], [*range(11, 20)], [20, 21]]


@pytest.mark.parametrize("stride", [0, 1, 5])
def test_windows_end_between_words(stride: int) -> None:
    string = " ".join("abcdefghij" for _ in range(9))  # words of four pieces, room for ten
    rendered = show(BERT, string, fit=Fit(stride=stride), limit=12)
    for one in rendered:
        assert np.bincount(one.word[1:-1])[one.word[1] :].tolist() in ([4, 4], [4])
    assert [w for r in rendered for w in np.unique(r.word[r.owned])] == list(range(9))


def test_a_word_longer_than_a_window_is_shown_in_parts() -> None:
    rendered = show(BERT, "a " + "b" * 90 + " c", fit=Fit(stride=4), limit=12)
    shown = np.concatenate([r.word[1:-1] for r in rendered])
    assert (shown == 1).sum() >= 30
    assert sum(r.cut for r in rendered) == 0
    owners = [{*r.word[r.owned].tolist()} for r in rendered]
    assert sum(1 in o for o in owners) == 1
    assert set().union(*owners) == {0, 1, 2}


def test_most_windows_counts_what_is_left_out() -> None:
    rendered = show(BERT, " ".join("w" for _ in range(30)), fit=Fit(stride=4, most_windows=2), limit=14)
    assert len(rendered) == 2
    assert [r.cut for r in rendered] == [10, 0]


def test_render_all_numbers_examples_and_agrees_with_render() -> None:
    examples = [example("abc " * n) for n in (3, 40, 0)]
    together = render_all(examples, TOKENIZER, BERT, "joint", Fit(), 16)
    for number, (one, sequences) in enumerate(zip(examples, together, strict=True)):
        alone = render(one, TOKENIZER, BERT, "joint", Fit(), 16)
        assert {s.example for s in sequences} == {number}
        for a, b in zip(alone, sequences, strict=True):
            np.testing.assert_array_equal(a.ids, b.ids)
    assert together[2][0].ids.tolist() == [CLS, SEP]


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(words, min_size=1, max_size=8), packed=st.booleans(), limit=st.integers(8, 30))
def test_pack_puts_every_sequence_and_every_word_once(texts: list[str], packed: bool, limit: int) -> None:
    rendered = [
        r for rs in render_all([example(t) for t in texts], TOKENIZER, BERT, "joint", Fit(stride=3), limit) for r in rs
    ]
    view = pack(rendered, packed=packed)
    assert len(view.bounds) == len(rendered)
    for s, ((row, start, stop), one) in enumerate(zip(view.bounds, rendered, strict=True)):
        np.testing.assert_array_equal(view.ids[row, start:stop], one.ids)
        np.testing.assert_array_equal(view.segment[row, start:stop], one.segment)  # type: ignore[index]
        assert (view.sequence[row, start:stop] == s).all()
        assert view.position[row, start:stop].tolist() == list(range(len(one)))
        assert view.summary is not None
        assert view.summary[s] == row * view.ids.shape[1] + start
    assert (view.sequence >= 0).sum() == sum(map(len, rendered))
    assert (view.ids[view.sequence < 0] == 0).all()
    if not packed:
        assert len(view.ids) == len(rendered)
    assert view.origin is not None
    wanted = [(e, w) for e, t in enumerate(texts) for w in range(len(t.split()))]
    listed = [(int(e), int(w)) for e, w, _, _ in np.asarray(view.origin.words)]
    assert sorted(listed) == wanted
    for e, w, row, column in np.asarray(view.origin.words):
        encoding = TOKENIZER.encode([Text(string=texts[e])])[0]
        assert view.ids[row, column] == encoding.ids[np.flatnonzero(encoding.word == w)[0]]


def test_pack_finds_the_extract_token_at_the_end() -> None:
    rendered = [*show(GPT, "abc", "xyz abc"), *show(GPT, "a", "b")]
    view = pack(rendered, 16)
    assert view.summary is not None
    places = np.asarray(view.summary)
    assert (view.ids.ravel()[places] == SEP).all()
    assert view.sequence.ravel()[places].tolist() == list(range(len(rendered)))


def test_pack_by_length_bounds_the_rectangle() -> None:
    lengths = np.array([5, 100, 7, 7, 30, 1, 300])
    groups = pack_by_length(lengths, 120)
    assert sorted(i for g in groups for i in g.tolist()) == list(range(7))
    assert all(len(g) == 1 or lengths[g].max() * len(g) <= 120 for g in groups)
    assert [g.tolist() for g in groups] == [[6], [1], [4, 2, 3, 0], [5]]
