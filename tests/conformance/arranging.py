"""Checks 5, 6 and 8: padding, order and company change nothing, and no token sees what it may not."""

from collections.abc import Sequence as Many
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

from conformance.layout import SOURCE, Sequence, answers, close, lay, one_a_row
from conformance.rows import Row, TaskRow, inner, scratch, stirred, texts_of
from foretext.data.batches import to_torch
from foretext.features import cached_encode, encode, items
from foretext.layers import attention
from foretext.training.model import Model
from foretext.types import Batch, TokenVectors

PRECISIONS = ((torch.float64, 1e-12), (torch.float32, 1e-5))
"""Rounding alone differs by about 1e-15 and 1e-6 between layouts; a bug by far more."""


def longest(examples: Many[Many[Sequence]]) -> int:
    """Tokens of the longest sequence."""
    return max(len(one) for example in examples for one in example)


def table_size(model: Model) -> int:
    """Ids that the encoder's table has."""
    return int(inner(model.encoder(SOURCE)).table.num_embeddings)


def padding(row: Row | TaskRow) -> None:
    """Left, right, on both sides, none to three times the length, pads holding any ids, positions and segments: all
    answers and losses as without padding. float64: 1e-12; float32: 1e-5."""
    examples = row.sequences()[:6]
    size = longest(examples)
    for dtype, tolerance in PRECISIONS:
        model = row.model(dtype)
        rng = np.random.default_rng(4)
        plain = answers(model, lay(examples, one_a_row(examples), size))
        for gap, width in ((0, size + 1), (3, size + 3), (size, 2 * size), (5, size + 19), (0, 3 * size)):
            batch = lay(examples, one_a_row(examples, gap), width, junk=rng, most=table_size(model))
            close(answers(model, batch), plain, tolerance, f"{gap} pads before, rows of {width}, junk in them")


def order(row: Row | TaskRow) -> None:
    """Alone, backwards, in other company, one a row or packed: each example's answers are its own. float64: 1e-12;
    float32: 1e-5; and through the public call, texts one at a time and shuffled."""
    examples = row.sequences()
    size = longest(examples)
    for dtype, tolerance in PRECISIONS:
        model = row.model(dtype)
        together = answers(model, lay(examples, one_a_row(examples), size))[:-1]
        back = answers(model, lay(examples[::-1], one_a_row(examples), size))[:-1]
        close(back[::-1], together, tolerance, "backwards")
        count = sum(map(len, examples))
        dense = [[(2 * (n != first), n) for n in range(first, min(first + 3, count))] for first in range(0, count, 3)]
        close(answers(model, lay(examples, dense, 3 * size + 4))[:-1], together, tolerance, "packed three a row")
        for pick in ([2], [3, 0]):
            chosen = [examples[i] for i in pick]
            found = answers(model, lay(chosen, one_a_row(chosen), longest(chosen)))[:-1]
            close(found, [together[i] for i in pick], tolerance, f"examples {pick} by themselves")
    _texts(row)


def _texts(row: Row | TaskRow) -> None:
    texts = texts_of(row)
    turned = np.random.default_rng(0).permutation(len(texts))
    if isinstance(row, TaskRow):
        made = row.adapted()
        whole = made.log_probabilities(texts)
        assert np.abs(made.log_probabilities([texts[i] for i in turned]) - whole[turned]).max() <= 1e-5
        alone = np.concatenate([made.log_probabilities([text]) for text in texts])
        assert np.abs(alone - whole).max() <= 1e-5
        assert len(np.unique(whole.round(4))) > 3, "every text gets the same answer"
        return
    made = row.pretrained()
    whole = made.encode(texts)
    for text, one in zip(texts, whole, strict=True):
        for token, (start, stop) in zip(one.tokens, one.offsets.tolist(), strict=True):
            assert text[start:stop] == token.removeprefix("##"), f"{token!r} does not stand at {start}:{stop} of {text!r}"
    for number, other in zip(turned, made.encode([texts[i] for i in turned], batch_tokens=20), strict=True):
        for a, b in zip(whole[number].layers, other.layers, strict=True):
            assert np.abs(a - b).max() <= 1e-5


def remembered(row: TaskRow) -> None:
    """What `features` remembers of a window is what the encoder says of it alone (fp32: 1e-5), in the window's place;
    the cache never answers with another encoder's vectors or those of other texts."""
    bench = row.bench()
    view = bench.texts[SOURCE]
    kept = bench.remembered[SOURCE].features(items(view, bench.head, np.arange(len(view.lengths))))
    first = view.first if bench.head.host != "none" else np.arange(len(view.first))
    encoder = bench.sources[SOURCE].encoder()
    for window in range(0, len(view.lengths), 5):
        alone = encode(encoder, view, bench.head, most_tokens=1, windows=np.array([window]))
        assert np.abs(alone - kept[first[window] : first[window + 1]]).max() <= 1e-5, f"window {window} holds another's vectors"
    other = stirred(bench.sources[SOURCE].encoder(), 1)
    fewer = replace(view, ids=view.ids[::-1].copy())
    for number, (which, name, of) in enumerate([(encoder, "a", view), (other, "b", view), (encoder, "a", fewer), (encoder, "a", view)]):
        found, known = cached_encode(which, of, bench.head, source=name, cache=scratch() / row.name, most_tokens=99)
        assert known == (number == 3)
        assert np.array_equal(found, encode(which, of, bench.head, most_tokens=99)), "the cache answers for another"


# ── who sees whom ───────────────────────────────────────────────────────────────────────────────────────────────────


def _packed(examples: Many[Many[Sequence]], most: int) -> Batch:
    """All sequences of the examples in two rows, side by side."""
    count = sum(map(len, examples))
    half = (count + 1) // 2
    rows = [[(0, n) for n in range(half)], [(0, n) for n in range(half, count)]]
    flat = [one for example in examples for one in example]
    width = max(sum(len(flat[n]) for _, n in row) for row in rows)
    return lay(examples, rows, width + 2, junk=np.random.default_rng(1), most=most)


def neighbours(row: Row | TaskRow) -> None:
    """Packed rows: changing every token of one sequence leaves every other's vectors and answers equal to the bit, and
    the gradient of one by the input vectors of the others is exactly 0; by matrix products and by the fused kernel."""
    for dtype in (torch.float64, torch.float32):
        for limit in (attention.MATMUL_LIMIT, 0):
            kept, attention.MATMUL_LIMIT = attention.MATMUL_LIMIT, limit
            try:
                _neighbours(row.model(dtype), row.sequences()[:6])
            finally:
                attention.MATMUL_LIMIT = kept


def _neighbours(model: Model, examples: list[list[Sequence]]) -> None:
    most = table_size(model)
    batch = _packed(examples, most)
    view = batch.views[SOURCE]
    before = answers(model, batch)[:-1]
    numbers = [i for i, example in enumerate(examples) for _ in example]
    for changed in (0, len(numbers) - 1):
        row, start, stop = (int(n) for n in view.bounds[changed])
        ids = view.ids.copy()
        ids[row, start:stop] = (ids[row, start:stop] + 1 + np.arange(stop - start)) % most
        after = answers(model, _with_ids(batch, ids))[:-1]
        for example, (a, b) in enumerate(zip(before, after, strict=True)):
            if example != numbers[changed]:
                for name in a:
                    assert torch.equal(a[name], b[name]), f"{name} of example {example} saw sequence {changed} change"
        assert not all(torch.equal(before[numbers[changed]][n], after[numbers[changed]][n]) for n in before[numbers[changed]])
    _gradients(model, batch)


def _with_ids(batch: Batch, ids: np.ndarray[Any, Any]) -> Batch:
    return replace(batch, views={SOURCE: replace(batch.views[SOURCE], ids=ids)})


def input_gradient(encoder: nn.Module, batch: Batch, of: np.ndarray[Any, Any]) -> torch.Tensor:
    """The gradient [R,T] (largest entry a token) of the last layer at the places `of` (bool [R,T]) by every token's
    row of the embedding table."""
    kept: list[torch.Tensor] = []

    def noted(module: nn.Module, given: Any, out: torch.Tensor) -> torch.Tensor:
        kept.append(out.detach().requires_grad_())
        return kept[-1]

    table: Any = encoder.table
    handle = table.register_forward_hook(noted)
    try:
        top = encoder(to_torch(batch).views[SOURCE]).layers[-1]
    finally:
        handle.remove()
    weights = torch.randn(top.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(top.dtype)
    (found,) = torch.autograd.grad((top * weights)[torch.from_numpy(of)].sum(), kept[-1:])
    return found.abs().amax(-1)


def _gradients(model: Model, batch: Batch) -> None:
    encoder = inner(model.encoder(SOURCE))
    sequence = np.asarray(batch.views[SOURCE].sequence)
    mine = sequence == 1
    gradient = input_gradient(encoder, batch, mine)
    assert float(gradient[torch.from_numpy(~mine)].max()) == 0.0, "a gradient reaches another sequence, or a pad"
    assert float(gradient[torch.from_numpy(mine)].min()) > 0.0
    if encoder.sees == "self":
        place = np.argwhere(mine)[0]
        one = np.zeros_like(mine)
        one[tuple(place)] = True
        assert float(input_gradient(encoder, batch, one)[torch.from_numpy(~one)].max()) == 0.0


def no_future(encoder: Any, batch: Batch, most: int) -> None:
    """For encoders whose tokens see to the left: changing token t leaves the outputs before t equal to the bit, and
    their gradient by the vectors from t on is exactly 0; every t of the first sequences, in packed and padded rows."""
    view = batch.views[SOURCE]
    with torch.no_grad():
        before = encoder(to_torch(batch).views[SOURCE]).layers[-1]
    for row, start, stop in np.asarray(view.bounds)[:3].tolist():
        for t in range(start + 1, stop):
            ids = view.ids.copy()
            ids[row, t] = (ids[row, t] + 1) % most
            with torch.no_grad():
                after = encoder(to_torch(_with_ids(batch, ids)).views[SOURCE]).layers[-1]
            assert torch.equal(before[row, start:t], after[row, start:t]), f"a token before {t - start} saw it change"
            assert not torch.equal(before[row, t], after[row, t])
        of = np.zeros(view.ids.shape, bool)
        of[row, (start + stop) // 2] = True
        later = input_gradient(encoder, batch, of)[row, (start + stop) // 2 + 1 :]
        assert float(later.sum()) == 0.0, "a gradient comes back from the future"


def future(row: Row | TaskRow) -> None:
    """`no_future` on the row's own packed sequences, by matrix products and by the fused kernel."""
    model = row.model(torch.float64)
    for limit in (attention.MATMUL_LIMIT, 0):
        kept, attention.MATMUL_LIMIT = attention.MATMUL_LIMIT, limit
        try:
            no_future(model.encoder(SOURCE), _packed(row.sequences()[:6], table_size(model)), table_size(model))
        finally:
            attention.MATMUL_LIMIT = kept


class Causal(nn.Module):
    """A small encoder whose tokens see to the left, to prove `no_future` on until a family does. `leak`: one that
    does not keep its word."""

    limit = None
    sees: Literal["left"] = "left"

    def __init__(self, vocabulary: int, *, leak: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(vocabulary, 8)
        self.blocks = nn.ModuleList(attention.Attention(8, 2) for _ in range(2))
        self.widths, self.leak = (8, 8), leak

    def forward(self, batch: Any) -> Any:
        x = self.table(batch.ids)
        bias = attention.attention_bias(batch, x, cast(Any, "both" if self.leak else "left"))
        top = x
        for block in self.blocks:
            top = top + block(top, bias)
        return TokenVectors(layers=(x, top), batch=batch)
