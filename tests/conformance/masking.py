"""Check 9: what is hidden stays hidden: NaN behind a mask, tokens to be guessed, held-out text, the other document."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.stats import chisquare

from conformance.arranging import longest, table_size
from conformance.layout import SOURCE, answers, close, lay, one_a_row
from conformance.rows import Row, TaskRow, inner
from foretext.data.batches import to_torch
from foretext.data.windows import Windows
from foretext.errors import DivergedError
from foretext.objectives import make_objectives
from foretext.training.gradient import target_counts
from foretext.types import Batch

LEAST = 3000
"""Hidden tokens looked at: enough for the chi-square test to tell 80 % from 77 %."""
CHANCE = 1e-4
"""Below this p-value the shares are wrong; seeds are fixed, so the test does not flicker."""


def hidden(row: Row | TaskRow) -> None:
    """NaN as the vector of every id that stands in pads only: answers, losses and gradients as without it, to the bit.

    NaN in a neighbour of the same row is another matter: 0 · NaN is NaN in any product of matrices, so a model with a
    NaN inside is not masked but refused: its next update is not made (check 4, update)."""
    examples = row.sequences()[:5]
    for dtype in (torch.float64, torch.float32):
        clean, poisoned = row.model(dtype), row.model(dtype)
        used = {int(i) for example in examples for one in example for i in one.ids}
        free = [i for i in range(table_size(clean)) if i not in used]
        assert free, "every id is used"
        with torch.no_grad():
            inner(poisoned.encoder(SOURCE)).table.weight[free] = float("nan")
        batch = lay(examples, one_a_row(examples, 2), longest(examples) + 5)
        view = batch.views[SOURCE]
        ids = np.where(view.sequence < 0, free[0], view.ids)
        batch = Batch(views={SOURCE: replace(view, ids=ids)}, targets=_real_targets(batch))
        ours, theirs = (answers(model, batch)[:-1] for model in (poisoned, clean))
        close(ours, theirs, 0.0, "NaN in the pads")
        _no_gradient(poisoned, batch, free)


def _real_targets(batch: Batch) -> dict[str, Any]:
    """Without the head that scores every row of the table, the poisoned ones too."""
    return {name: target for name, target in batch.targets.items() if name != "masked"}


def _no_gradient(model: Any, batch: Batch, free: list[int]) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    moved = to_torch(batch)
    if not batch.targets:
        loss = model(moved)[SOURCE].layers[-1][torch.from_numpy(batch.views[SOURCE].sequence >= 0)].sum()
    else:
        loss = sum(model.losses(moved).values())
    for gradient in torch.autograd.grad(loss, parameters, allow_unused=True):
        if gradient is not None:
            assert bool(gradient.isfinite().all()), "a NaN that stands in padding reached a gradient"


# ── tokens to be guessed ────────────────────────────────────────────────────────────────────────────────────────────


def _epochs(row: Row) -> tuple[Windows, Any, list[tuple[Batch, Batch, Any]]]:
    """(before, after) the masked objective, and the plan, of epochs with masks of their own, until there are enough."""
    assert row.recipe.windows is not None
    job = row.job(windows=replace(row.recipe.windows, copies=0))
    stepper = row.stepper(1, windows=job.recipe.windows)
    windows, store = stepper._batches.windows, row.store()
    (objective,) = (o for o in make_objectives(row.recipe.objectives, store.tokenizer) if o.name == "masked")
    found, count, epoch = [], 0, 0
    while count < LEAST:
        plan = windows.plan(store, False, epoch, 0)
        before = windows.take(store, plan, words=objective.words)
        after = objective.prepare(before, windows.keys(plan, epoch))
        found.append((before, after, plan))
        count, epoch = count + after.targets["masked"].count, epoch + 1
    return windows, objective, found


def masked(row: Row) -> None:
    """Asked are ordinary tokens only, the wanted share of each sequence, gold is what stood there, nothing else is
    changed; [MASK], random and unchanged in the stated shares by chi-square; only asked places carry loss."""
    _, objective, epochs = _epochs(row)
    config, tokenizer = objective.config, row.store().tokenizer
    special = np.array(sorted(tokenizer.special.values()))
    shown, golds, wanted, lengths = [], [], 0.0, 0
    for before, after, _ in epochs:
        old, new = (np.asarray(batch.views[SOURCE].ids).ravel() for batch in (before, after))
        sequence, target = np.asarray(before.views[SOURCE].sequence).ravel(), after.targets["masked"]
        counted = np.ones(len(target.at), bool) if target.weight is None else target.weight > 0
        at, gold = target.at[counted], target.gold[counted]
        assert target.count == len(at) == len(np.unique(at))
        assert np.array_equal(gold, old[at]), "gold is not what stood there"
        assert not np.isin(gold, special).any() and (sequence[at] >= 0).all(), "a special token or a pad is asked for"
        rest = np.setdiff1d(np.arange(len(old)), at)
        assert np.array_equal(old[rest], new[rest]), "a token that is not asked for was changed"
        assert not np.isin(new[at][new[at] != tokenizer.special["[MASK]"]], special).any()
        sizes = np.bincount(sequence[sequence >= 0])
        budget = np.minimum(np.maximum(1, np.rint(sizes * config.rate)), config.most or len(old))
        asked = np.bincount(sequence[at], minlength=len(sizes))
        if not config.whole_word:
            assert np.array_equal(asked, budget), "not the wanted number of tokens of a sequence"
        shown.append(new[at])
        golds.append(gold)
        wanted, lengths = wanted + budget.sum(), lengths + int(sizes.sum())
    _shares(np.concatenate(shown), np.concatenate(golds), config, tokenizer)
    found = len(np.concatenate(golds))
    assert abs(found / wanted - 1.0) < 0.1, f"{found} tokens asked for, {wanted:.0f} wanted"
    assert abs(found / lengths / config.rate - 1.0) < 0.15, f"a share of {found / lengths:.3f} is asked for"
    _losses(row)


def _shares(shown: Any, gold: Any, config: Any, tokenizer: Any) -> None:
    n, ordinary = len(gold), tokenizer.size - len(tokenizer.special)
    masks, kept = int((shown == tokenizer.special["[MASK]"]).sum()), int((shown == gold).sum())
    same = config.random / ordinary  # a random token may be the one that stood there
    shares = [config.mask, 1.0 - config.mask - config.random + same, config.random - same]
    found = [masks, kept, n - masks - kept]
    assert chisquare(found, [share * n for share in shares]).pvalue > CHANCE, f"{found} of {n}, expected shares {shares}"
    replaced = shown[(shown != tokenizer.special["[MASK]"]) & (shown != gold)]
    counts = np.bincount(replaced, minlength=tokenizer.size)[np.setdiff1d(np.arange(tokenizer.size), list(tokenizer.special.values()))]
    assert chisquare(counts).pvalue > CHANCE, "random tokens are not uniform"


def _losses(row: Row) -> None:
    """The loss is the sum over asked places alone: other golds at slots of weight 0 change nothing, and the sum of the
    places one by one is the whole (float64: 1e-12)."""
    model, batch = row.model(torch.float64), row.batch()
    target = batch.targets["masked"]
    with torch.no_grad():
        vectors = model(to_torch(batch))
        whole = float(model.head("masked").loss(vectors, to_torch(batch).targets["masked"]))
        everywhere = model.head("masked").predict(vectors)
    real = np.ones(len(target.at), bool) if target.weight is None else target.weight > 0
    plain = -float(everywhere[torch.from_numpy(target.at[real]), torch.from_numpy(target.gold[real]).long()].sum())
    assert abs(whole - plain) <= 1e-12 * max(1.0, plain)
    assert target_counts([batch])["masked"] == int(real.sum())
    if target.weight is not None:
        assert (target.weight == 0).any(), "no slot of weight 0 to look at"
        other = replace(target, gold=np.where(real, target.gold, target.gold + 7))
        with torch.no_grad():
            again = model.head("masked").loss(vectors, to_torch(Batch(views={}, targets={"masked": other})).targets["masked"])
        assert float(again) == whole, "a slot of weight 0 carries loss"


def pairs(row: Row) -> None:
    """Next sentence: gold 0 = B goes on where A ended, in A's document; gold 1 = B is from another document, whole
    sentences; about half and half, slightly more random ones (a chunk of one sentence has no B)."""
    store, random, total = row.store(), 0, 0
    for before, _, plan in _epochs(row)[2]:
        gold = before.targets["next_sentence"].gold
        a, b = plan.runs[:, 0], plan.runs[:, 2]
        documents = [_document(store, start) for start in (a, b)]
        assert (documents[0][gold == 0] == documents[1][gold == 0]).all()
        assert (documents[0][gold == 1] != documents[1][gold == 1]).all(), "a B called random comes from A's own document"
        assert (b[gold == 0] >= (a + plan.runs[:, 1])[gold == 0]).all(), "a B called next does not follow A"
        random, total = random + int(gold.sum()), total + len(gold)
    assert 0.45 < random / total < 0.75, f"{random} of {total} pairs are random"


def _document(store: Any, tokens: Any) -> Any:
    sentence = np.searchsorted(store.sentences, tokens, "right") - 1
    return np.searchsorted(store.documents, sentence, "right") - 1


def held_out(row: Row) -> None:
    """No held-out sentence is ever trained on, in two epochs of a family's own steps; windows stay inside a sentence."""
    if hasattr(row.own, "held_out"):
        row.own.held_out(row)
        return
    stepper = row.stepper(6)
    plan = stepper._plan
    found: list[Any] = []

    def noted(ids: Any, ends: Any, skipped: Any, state: Any) -> Any:
        answer = plan(ids, ends, skipped, state)
        found.append((np.array(ids), np.array(ends), np.array(skipped), answer))
        return answer

    stepper._plan = noted
    for _ in range(6):
        stepper.step()
    held = np.asarray(stepper.store.held_out)
    assert held.any() and len(found) > 6
    for ids, ends, skipped, (words, low, high, n) in found:
        starts = np.concatenate([[0], ends[:-1]])
        kept = [ids[a:b] for a, b, out in zip(starts, ends, skipped, strict=True) if not out]
        stream = np.concatenate([np.zeros(0, np.int64), *kept])
        stream = stream[stepper.kept[np.minimum(stream, len(stepper.kept) - 1)]]
        assert set(words[:n].tolist()) <= set(stream.tolist()) and n <= len(stream), "a held-out word is trained on"
        if row.recipe.family.sample == 0:
            assert np.array_equal(words[:n], stream)
            edges = np.cumsum([0, *(int(stepper.kept[part].sum()) for part in kept)])
            for first, last in pairwise(edges):
                assert (low[first:last] >= first).all() and (high[first:last] <= last).all(), "a window crosses a sentence"
    poisoned_rows(row)


def poisoned_rows(row: Row) -> None:
    """NaN in the rows of words that are left out of training: nothing reads them."""
    poisoned = row.stepper(2)
    only = np.setdiff1d(np.arange(len(poisoned.kept)), np.flatnonzero(poisoned.kept))
    poisoned.inward[only] = poisoned.outward[only] = np.nan
    try:
        poisoned.step()
    except DivergedError as error:
        raise AssertionError("a word that is not trained was read") from error
