"""Masked language modelling and next sentence: counts, shares, independence of the batch."""

import numpy as np
import pytest
from scipy.stats import chisquare

from foretext.data.config import WindowsConfig
from foretext.data.plan import Plan
from foretext.data.windows import make_windows
from foretext.errors import UsageError
from foretext.objectives import (
    OBJECTIVES,
    Masked,
    MaskedConfig,
    NextSentence,
    NextSentenceConfig,
    _fitting,
    _smallest,
    make_objectives,
    require_sees,
)
from foretext.types import Batch, Origin, TokenBatch
from miniature import BERT, SPECIAL, MiniStore, MiniTokenizer, random_store

MASK = SPECIAL["[MASK]"]


def prepared(
    config: MaskedConfig, kind: str = "packed", rows: int = 400, length: int = 128, size: int = 200
) -> tuple[Batch, Batch]:
    store = random_store(300, size=size)
    windows = make_windows(WindowsConfig(kind=kind, length=length), BERT)  # type: ignore[arg-type]
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    plan = plan.select(np.arange(min(rows, len(plan))))
    before = windows.take(store, plan, words=config.whole_word)
    return before, Masked(config, store.tokenizer).prepare(before, windows.keys(plan, 0))


def text(batch: Batch) -> TokenBatch:
    return batch.views["text"]


@pytest.mark.parametrize("kind", ["packed", "pairs", "single"])
@pytest.mark.parametrize("most", [None, 20, 7])
def test_each_sequence_gets_its_exact_number(kind: str, most: int | None) -> None:
    before, after = prepared(MaskedConfig(most=most), kind)
    target = after.targets["masked"]
    counts = np.bincount(text(before).sequence.ravel()[target.at], minlength=len(text(before).bounds))
    sizes = text(before).bounds[:, 2] - text(before).bounds[:, 1]
    wanted = [min(most or 999, max(1, round(int(n) * 0.15))) for n in sizes]
    assert counts.tolist() == wanted
    assert target.count == len(target.at) == sum(wanted)
    assert (np.diff(target.at) > 0).all()


def test_spare_slots_weigh_nothing() -> None:
    plain = prepared(MaskedConfig())[1].targets["masked"]
    target = prepared(MaskedConfig(slots=1000))[1].targets["masked"]
    assert target.count == plain.count
    assert len(target.at) % 1000 == 0 < len(target.at)
    assert target.weight is not None
    assert target.weight.sum() == plain.count
    counted = target.weight > 0
    np.testing.assert_array_equal(target.at[counted], plain.at)
    np.testing.assert_array_equal(target.gold[counted], plain.gold)


@pytest.mark.parametrize("whole_word", [False, True])
def test_gold_is_the_text_and_nothing_else_changes(whole_word: bool) -> None:
    before, after = prepared(MaskedConfig(whole_word=whole_word))
    old, new, target = text(before).ids.ravel(), text(after).ids.ravel(), after.targets["masked"]
    np.testing.assert_array_equal(target.gold, old[target.at])
    others = np.setdiff1d(np.arange(len(old)), target.at)
    np.testing.assert_array_equal(new[others], old[others])
    assert not np.isin(target.gold, list(SPECIAL.values())).any()
    assert (text(before).sequence.ravel()[target.at] >= 0).all()


def test_eighty_ten_ten_by_chi_square() -> None:
    _, after = prepared(MaskedConfig(most=None), rows=3000, size=2000)
    target, new = after.targets["masked"], text(after).ids.ravel()
    shown = new[target.at]
    masked, kept = int((shown == MASK).sum()), int((shown == target.gold).sum())
    n = target.count
    observed = [masked, kept, n - masked - kept]
    same = 0.1 / 1995  # a random token may be the token itself
    assert n > 2000
    assert chisquare(observed, [0.8 * n, (0.1 + same) * n, (0.1 - same) * n]).pvalue > 1e-3


def test_places_and_replacements_are_uniform_by_chi_square() -> None:
    store = MiniStore([[[5 + i % 10] * 6 for i in range(8)] for _ in range(2000)], size=15)
    windows = make_windows(WindowsConfig(kind="single", length=50), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    before = windows.take(store, plan)
    after = Masked(MaskedConfig(mask=0.0, random=1.0), store.tokenizer).prepare(before, windows.keys(plan, 0))
    at = after.targets["masked"].at
    position = text(before).position.ravel()[at]
    assert chisquare(np.bincount(position, minlength=49)[1:49]).pvalue > 1e-3
    shown = np.bincount(text(after).ids.ravel()[at], minlength=15)
    assert shown[:5].sum() == 0
    assert chisquare(shown[5:]).pvalue > 1e-3


def test_replacements_are_uniform_though_only_a_tenth_is_replaced() -> None:
    """One uniform must not decide both whether and by what a token is replaced."""
    store = MiniStore([[[5 + i % 10] * 6 for i in range(8)] for _ in range(4000)], size=15)
    windows = make_windows(WindowsConfig(kind="single", length=50), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    after = Masked(MaskedConfig(), store.tokenizer).prepare(windows.take(store, plan), windows.keys(plan, 0))
    target = after.targets["masked"]
    shown = text(after).ids.ravel()[target.at]
    replaced = np.bincount(shown[(shown != MASK) & (shown != target.gold)], minlength=15)[5:]
    assert chisquare(replaced).pvalue > 1e-3


def test_a_sequence_keeps_its_masks_in_any_batch() -> None:
    """Alone, in another row, beside others: the same tokens are hidden behind the same ids."""
    store = random_store(100)
    windows = make_windows(WindowsConfig(kind="packed", length=64), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    for config in (MaskedConfig(), MaskedConfig(whole_word=True)):
        objective = Masked(config, store.tokenizer)

        def corrupted(plan: Plan, objective: Masked = objective) -> dict[tuple[int, ...], bytes]:
            batch = windows.take(store, plan, words=True)
            view = text(objective.prepare(batch, windows.keys(plan, 0)))
            return {
                tuple(run): view.ids[row, start:stop].tobytes()
                for run, (row, start, stop) in zip(plan.runs.tolist(), view.bounds, strict=True)
            }

        together = corrupted(plan.select(np.arange(30)))
        backwards = corrupted(plan.select(np.arange(30)[::-1]))
        alone = corrupted(plan.select(np.array([7])))
        assert together == backwards
        assert alone.items() <= together.items()


def test_copies_differ_and_repeat() -> None:
    store = random_store(50)
    for copies, again, differs in ((2, 2, 1), (0, 0, 2)):
        windows = make_windows(WindowsConfig(kind="single", length=64, copies=copies, short=0), BERT)
        plan = windows.plan(store, False, 0, 0)
        assert plan is not None
        objective = Masked(MaskedConfig(), store.tokenizer)
        at = {
            e: objective.prepare(windows.take(store, plan), windows.keys(plan, e)).targets["masked"].at
            for e in (0, again, differs)
        }
        np.testing.assert_array_equal(at[0], at[again])
        assert not np.array_equal(at[0], at[differs])


@pytest.mark.parametrize("most", [20, 3])
def test_whole_words_are_hidden_whole(most: int) -> None:
    before, after = prepared(MaskedConfig(whole_word=True, most=most))
    view, target = text(before), after.targets["masked"]
    assert view.origin is not None
    width = view.ids.shape[1]
    first = np.asarray(view.origin.words)[:, 2] * width + np.asarray(view.origin.words)[:, 3]
    word = np.full(view.ids.size, -1)
    word[first] = np.arange(len(first))
    flat = word.copy()
    for i in range(1, len(flat)):  # a word lasts until the next one starts or a special token stands
        if flat[i] < 0 and view.ids.ravel()[i] not in SPECIAL.values() and flat[i - 1] >= 0:
            flat[i] = flat[i - 1]
    sizes = np.bincount(flat[flat >= 0], minlength=len(first))
    taken = np.bincount(flat[target.at], minlength=len(first))
    assert set((taken == 0) | (taken == sizes)) == {True}
    assert sizes.max() > 2
    counts = np.bincount(view.sequence.ravel()[target.at], minlength=len(view.bounds))
    lengths = view.bounds[:, 2] - view.bounds[:, 1]
    budget = np.minimum(np.maximum(np.rint(lengths * 0.15), 1), most)
    over = counts > budget  # only the first word of a sequence all of whose words exceed the budget
    assert (counts <= most).all()
    assert over.mean() < 0.2
    assert (counts[~over] <= budget[~over]).all()
    assert counts[lengths > 60].mean() > 0.9 * budget[lengths > 60].mean()


def test_a_word_longer_than_everything_is_left_alone() -> None:
    store = MiniStore([[[7] + [9] * 30], [[7] + [9] * 2]])  # 9 continues a word
    windows = make_windows(WindowsConfig(kind="single", length=40), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    batch = windows.take(store, plan, words=True)
    target = (
        Masked(MaskedConfig(whole_word=True, most=5), store.tokenizer)
        .prepare(batch, windows.keys(plan, 0))
        .targets["masked"]
    )
    assert target.count == 3  # the word of three pieces, though 15 % of five tokens is one


def test_next_sentence_needs_pairs() -> None:
    store = random_store(10)
    objective = NextSentence(NextSentenceConfig(), store.tokenizer)
    windows = make_windows(WindowsConfig(kind="pairs"), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    batch = objective.prepare(windows.take(store, plan), windows.keys(plan, 0))
    np.testing.assert_array_equal(batch.targets["next_sentence"].gold, plan.random.astype(int))
    np.testing.assert_array_equal(batch.targets["next_sentence"].at, np.arange(len(plan)))
    packed = make_windows(WindowsConfig(kind="packed"), BERT)
    other = packed.plan(store, False, 0, 0)
    assert other is not None
    with pytest.raises(UsageError, match="pairs"):
        objective.prepare(packed.take(store, other), packed.keys(other, 0))


def test_what_cannot_work_is_refused_before_anything_runs() -> None:
    tokenizer = MiniTokenizer()
    objectives = make_objectives({"masked": MaskedConfig(), "next_sentence": NextSentenceConfig()}, tokenizer)  # type: ignore[arg-type]
    require_sees(objectives, "both")
    with pytest.raises(UsageError, match=r"masked.*both.*'left'"):
        require_sees(objectives, "left")
    with pytest.raises(UsageError, match="did you mean 'masked'"):
        make_objectives({"maskd": MaskedConfig()}, tokenizer)  # type: ignore[arg-type]
    for wrong in ({"rate": 0.0}, {"mask": 0.8, "random": 0.3}, {"most": 0}, {"slots": 0}):
        with pytest.raises(UsageError, match="expected"):
            MaskedConfig(**wrong)  # type: ignore[arg-type]
    tokenizer.special = {"[PAD]": 0}
    with pytest.raises(UsageError, match=r"\[MASK\]"):
        Masked(MaskedConfig(), tokenizer)  # type: ignore[arg-type]
    assert set(OBJECTIVES) == {"masked", "next_sentence"}


def test_a_vocabulary_of_special_tokens_only_is_refused() -> None:
    tokenizer = MiniTokenizer(size=len(SPECIAL))
    with pytest.raises(UsageError, match="more than its special tokens"):
        Masked(MaskedConfig(), tokenizer)  # type: ignore[arg-type]
    Masked(MaskedConfig(), MiniTokenizer(size=len(SPECIAL) + 1))  # type: ignore[arg-type]


def test_the_smallest_numbers_of_each_owner_are_chosen() -> None:
    order = np.array([0.5, 0.1, 0.3, 0.9, 0.2, 0.0, 0.7])
    owner = np.array([0, 0, 0, 2, 2, 2, 2])  # the second has nothing
    for budget, chosen in (([2, 1, 3], [1, 2, 4, 5, 6]), ([1, 0, 1], [1, 5]), ([9, 9, 9], [*range(7)]), ([0, 0, 0], [])):
        assert _smallest(order, owner, np.array(budget)).tolist() == chosen
    assert _smallest(order[:0], owner[:0], np.array([2, 1])).tolist() == []


@pytest.mark.parametrize(
    ("sizes", "budget", "most", "taken"),
    [
        ([1, 2, 3], [3, 0], None, [True, True, False]),  # in order: 0.2 (size 2), 0.4 (size 1); full
        ([1, 2, 3], [4, 0], None, [True, True, False]),  # the third no longer fits
        ([3, 2, 1], [3, 0], None, [False, True, True]),  # the second in line is passed over, the third fits
        ([3, 3, 3], [2, 0], 9, [False, True, False]),  # none fits: the first drawn
        ([3, 4, 3], [2, 0], 3, [True, False, False]),  # … of at most `most` pieces
        ([4, 4, 4], [2, 0], 3, [False, False, False]),
        ([3, 4, 3], [2, 0], None, [False, True, False]),
        ([2, 2, 2], [2, 0], 2, [False, True, False]),
    ],
)
def test_words_are_taken_in_their_order_while_they_fit(
    sizes: list[int], budget: list[int], most: int | None, taken: list[bool]
) -> None:
    order, owner = np.array([0.4, 0.2, 0.6]), np.array([0, 0, 0])
    assert _fitting(order, owner, np.array(sizes), np.array(budget), most).tolist() == taken
    moved = np.array([1, 1, 1])  # the same words of the second owner, after a first of one word
    both = _fitting(np.append(0.9, order), np.append(0, moved), np.append(1, sizes), np.array([1, budget[0]]), most)
    assert both.tolist() == [True, *taken]


def test_spare_slots_fill_up_to_a_multiple() -> None:
    objective = Masked(MaskedConfig(slots=4), MiniTokenizer())  # type: ignore[arg-type]
    for count, width in ((0, 0), (1, 4), (4, 4), (5, 8)):
        target = objective._padded(np.arange(3, 3 + count), np.arange(50, 50 + count))
        assert (len(target.at), len(target.gold), target.count) == (width, width, count)
        assert target.at[count:].tolist() == target.gold[count:].tolist() == [0] * (width - count)
        if width == count:
            assert target.weight is None
        else:
            assert target.weight is not None
            assert target.weight.dtype == np.float32
            assert target.weight.tolist() == [1.0] * count + [0.0] * (width - count)


def test_settings_at_their_limits() -> None:
    MaskedConfig(rate=0.001, mask=0.0, random=1.0, most=1, slots=1, weight=0.0)
    MaskedConfig(rate=0.999, mask=0.7, random=0.3, most=None)
    MaskedConfig(mask=1.0, random=0.0)
    wrong = (
        {"rate": 1.0}, {"rate": -0.1}, {"rate": 1.5}, {"mask": -0.1}, {"random": -0.1}, {"mask": 0.9, "random": 0.101},
        {"most": -1}, {"slots": -1}, {"weight": -0.5},
    )  # fmt: skip
    for settings in wrong:
        with pytest.raises(UsageError, match="expected"):
            MaskedConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 0"):
        NextSentenceConfig(weight=-1.0)
    with pytest.raises(TypeError):
        MaskedConfig(0.5)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        MaskedConfig().rate = 0.2  # type: ignore[misc]


def test_defaults_are_those_of_the_paper() -> None:
    config = MaskedConfig()
    assert (config.weight, config.rate, config.mask, config.random, config.most, config.slots, config.whole_word) == (
        1.0, 0.15, 0.8, 0.1, 20, 1, False,
    )  # fmt: skip
    assert NextSentenceConfig().weight == 1.0


def test_an_objective_keeps_the_name_and_the_other_targets_of_a_batch() -> None:
    store = random_store(20)
    windows = make_windows(WindowsConfig(kind="pairs", length=32), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    before, keys = windows.take(store, plan), windows.keys(plan, 0)
    after = Masked(MaskedConfig(), store.tokenizer, "again").prepare(before, keys)
    assert set(after.targets) == {"again", "next_sentence"}
    assert after.targets["next_sentence"] is before.targets["next_sentence"]
    made = make_objectives({"next_sentence": NextSentenceConfig(), "masked": MaskedConfig(whole_word=True)}, store.tokenizer)
    assert [(each.name, each.words) for each in made] == [("next_sentence", False), ("masked", True)]
    require_sees(made[:1], "left")


DRAWN = {  # whole words? → places, and the ids shown there (4 is [MASK])
    False: [[1, 2, 4, 9, 10, 11, 13, 14, 15, 17, 23, 26, 28], [5, 4, 4, 4, 4, 5, 4, 24, 14, 53, 4, 4, 4]],
    True: [[1, 2, 4, 5, 9, 10, 11, 12, 13, 14, 15, 28, 29], [5, 4, 4, 4, 4, 4, 5, 5, 4, 24, 14, 4, 4]],
}


def test_masks_of_a_seed_do_not_change_between_versions() -> None:
    """Written down once: what was drawn for a text must be drawn again, or published runs cannot be repeated."""
    store = MiniStore([[[5 + i for i in range(30)]]], size=60)
    windows = make_windows(WindowsConfig(kind="single", length=32), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    batch = windows.take(store, plan, words=True)
    drawn = {}
    for whole_word in (False, True):
        config = MaskedConfig(rate=0.4, mask=0.4, random=0.4, whole_word=whole_word)
        after = Masked(config, store.tokenizer).prepare(batch, np.array([123456789]))
        target = after.targets["masked"]
        drawn[whole_word] = [target.at.tolist(), text(after).ids.ravel()[target.at].tolist()]
    assert drawn == DRAWN


def test_a_word_never_reaches_into_the_next_sequence() -> None:
    """The second sequence begins inside a word whose head is elsewhere: its pieces are a word of their own."""
    view = TokenBatch(
        ids=np.array([[7, 9, 9, 12, 0]]),
        sequence=np.array([[0, 0, 1, 1, -1]]),
        position=np.array([[0, 1, 0, 1, 0]]),
        bounds=np.array([[0, 0, 2], [0, 2, 4]]),
        origin=Origin(example=np.array([0, 1]), words=np.array([[0, 0, 0, 0]])),
    )
    for most, hidden in ((2, [0, 1, 2, 3]), (1, [])):
        objective = Masked(MaskedConfig(whole_word=True, most=most), MiniTokenizer())  # type: ignore[arg-type]
        target = objective.prepare(Batch(views={"text": view}, targets={}), np.array([5, 6])).targets["masked"]
        assert target.at.tolist() == hidden
