"""Examples rendered once and kept flat, so that a batch of any of them is array work, not a walk over objects.

N examples · S sequences (an example's windows, in order) · T tokens a row · R rows
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from foretext.data.packing import best_fit
from foretext.data.plan import offsets, spread
from foretext.data.render import Rendered, Tally, joined, tally
from foretext.layers.sizes import rounded
from foretext.types import Forms, Ints, Origin, TokenBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """N examples as one source sees them.

    `ids` [ΣT] (and `segment` [ΣT] where the template numbers segments) sequence after sequence; `first` [S+1] where
    each starts; `summary` [S] its summary token, counted from its start (None: the template has none); `sequences`
    [N+1] the first sequence of each example; `tally`: what a limit did to them; `forms`: how unseen words are spelled.
    """

    ids: Ints
    first: Ints
    sequences: Ints
    segment: Ints | None = None
    summary: Ints | None = None
    pad: int = 0
    tally: Tally | None = None
    forms: Forms | None = None
    lengths: Ints = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", np.diff(self.first))

    def __len__(self) -> int:
        return len(self.sequences) - 1

    @property
    def example(self) -> Ints:
        """The example of each sequence, [S]."""
        return np.repeat(np.arange(len(self)), np.diff(self.sequences))

    @property
    def example_tokens(self) -> Ints:
        """Tokens of each example over all its windows, [N]."""
        ends = offsets(self.lengths)[self.sequences]
        return np.diff(ends)

    def batch(self, examples: Ints, *, one_row: bool = False) -> TokenBatch:
        """The windows of these examples, numbered 0… in the order given, packed into rows as long as the longest
        window (and a sixteenth more at most); `one_row`: all in a single row without padding, for encoders that never look around."""
        counts = self.sequences[examples + 1] - self.sequences[examples]
        which = spread(self.sequences[examples], counts)
        lengths = self.lengths[which]
        row, start, width = _places(lengths, one_row=one_row)
        rows = int(row.max()) + 1 if len(row) else 1
        at = spread(row * width + start, lengths)
        taken = spread(self.first[which], lengths)
        segment = None if self.segment is None else _rectangle(self.segment[taken], at, rows, width, 0)
        return TokenBatch(
            ids=_rectangle(self.ids[taken], at, rows, width, self.pad),
            sequence=_rectangle(np.repeat(np.arange(len(which)), lengths), at, rows, width, -1),
            position=_rectangle(spread(np.zeros(len(which), np.int64), lengths), at, rows, width, 0),
            bounds=np.stack([row, start, start + lengths], axis=1),
            segment=segment,
            summary=None if self.summary is None else row * width + start + self.summary[which],
            forms=self.forms,
            origin=Origin(example=np.repeat(np.arange(len(examples)), counts)),
        )

    def groups(self, examples: Ints, most_tokens: int) -> Iterator[Ints]:
        """These examples in their order, cut into groups of at most `most_tokens` tokens (or one example)."""
        begin, total = 0, 0
        for i, tokens in enumerate(self.example_tokens[examples].tolist()):
            if i > begin and total + tokens > most_tokens:
                yield examples[begin:i]
                begin, total = i, 0
            total += tokens
        if begin < len(examples):
            yield examples[begin:]


def _places(lengths: Ints, *, one_row: bool) -> tuple[Ints, Ints, int]:
    """Row and start of each sequence, and the rows' length."""
    if one_row:
        ends = offsets(lengths)
        return np.zeros(len(lengths), np.int64), ends[:-1], max(int(ends[-1]), 1)
    width = max(rounded(int(lengths.max()), octave=16) if len(lengths) else 0, 1)
    row = best_fit(lengths, width)
    order = np.argsort(row, kind="stable")
    before = offsets(lengths[order])[:-1]
    first_of_row = np.r_[True, np.diff(row[order]) > 0]
    base = before[np.maximum.accumulate(np.where(first_of_row, np.arange(len(order)), 0))]
    start = np.empty(len(lengths), np.int64)
    start[order] = before - base
    return row, start, width


def _rectangle(values: Ints, at: Ints, rows: int, width: int, fill: int) -> Ints:
    flat = np.full(rows * width, fill, dtype=np.int64)
    flat[at] = values
    return flat.reshape(rows, width)


def prepared(rendered: Sequence[Sequence[Rendered]], *, segments: bool, summary: bool, pad: int) -> Prepared:
    """Flatten what `render` made of each example. `segments`, `summary`: whether the template has them."""
    flat = [one for windows in rendered for one in windows]
    empty = np.zeros(0, np.int64)
    forms = joined(one.forms for one in flat) or None
    return Prepared(
        ids=np.concatenate([empty, *(one.ids for one in flat)]).astype(np.int64 if forms else np.int32),
        first=offsets(np.array([len(one.ids) for one in flat], np.int64)),
        sequences=offsets(np.array([len(windows) for windows in rendered], np.int64)),
        segment=np.concatenate([empty, *(one.segment for one in flat)]).astype(np.int8) if segments else None,
        summary=np.array([one.summary or 0 for one in flat], np.int64) if summary else None,
        pad=pad,
        tally=tally(rendered),
        forms=forms,
    )


def replaced(whole: Prepared, where: Ints, others: Prepared) -> Prepared:
    """`whole`, its examples `where` (ascending) replaced by `others`, in order."""
    stay = np.setdiff1d(np.arange(len(whole)), where)
    counts = np.zeros(len(whole), np.int64)
    counts[stay] = np.diff(whole.sequences)[stay]
    counts[where] = np.diff(others.sequences)
    sequences = offsets(counts)
    old, new = spread(whole.sequences[stay], counts[stay]), np.arange(len(others.lengths))
    to_old, to_new = spread(sequences[stay], counts[stay]), spread(sequences[where], counts[where])

    def per_sequence(a: Ints, b: Ints) -> Ints:
        merged = np.empty(int(sequences[-1]), np.int64)
        merged[to_old], merged[to_new] = a[old], b[new]
        return merged

    lengths = per_sequence(whole.lengths, others.lengths)
    first = offsets(lengths)

    def per_token(a: Ints, b: Ints) -> Ints:
        merged = np.empty(int(first[-1]), np.result_type(a, b))
        merged[spread(first[to_old], lengths[to_old])] = a[spread(whole.first[old], lengths[to_old])]
        merged[spread(first[to_new], lengths[to_new])] = b
        return merged

    assert whole.tally is not None and others.tally is not None
    kept = int(whole.tally.tokens) - _text_tokens(whole, where)
    told = others.tally
    return Prepared(
        ids=per_token(whole.ids, others.ids),
        first=first,
        sequences=sequences,
        segment=per_token(whole.segment, others.segment) if whole.segment is not None and others.segment is not None else None,
        summary=per_sequence(whole.summary, others.summary) if whole.summary is not None and others.summary is not None else None,
        pad=whole.pad,
        forms=joined([whole.forms, others.forms]) or None,
        tally=Tally(tokens=kept + told.tokens, beyond=told.beyond, cut=told.cut, examples=len(whole), long=told.long),
    )


def _text_tokens(whole: Prepared, where: Ints) -> int:
    """Tokens of text (special tokens left out) of examples that are one sequence each."""
    assert whole.tally is not None
    marks = (len(whole.ids) - whole.tally.tokens) // max(len(whole), 1)
    return int((whole.lengths[where] - marks).sum())
