"""Examples to sequences: the one place that inserts special tokens, cuts, and windows what is too long.

An Example is neutral: options › sides › parts of Text. The family's Template says which special token stands where,
the head whether it reads an option's sides jointly or apart, the task's Fit what happens to a text over the limit.
Every word is owned by exactly one window, the one that shows most of its surroundings, so vectors of words can be put
together again; a word that no window shows has no owner and is counted as cut.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from foretext.errors import DataError, UsageError
from foretext.types import Bits, Encoding, Forms, Ints, Place, Template, Text, Tokenizer

# T tokens of a sequence or of a side, W words of a side, K windows

NOWHERE = Place(file="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What happens to an example that is longer than the encoder's limit."""

    policy: Literal["refuse", "cut", "window"] = "window"
    """"refuse": DataError; "cut": tokens are left out, of the longest side first; "window": the longest side is shown
    in several overlapping windows, each with the other sides whole (cut to half of the room if need be)."""
    side: Literal["end", "start", "middle"] = "end"
    """Where tokens are left out: "middle" keeps the head and the tail (Sun et al. 2019, section 5.3.1)."""
    stride: int = 32
    """Tokens that neighbouring windows share, at most half of a window. (The overlap, as in Hugging Face's tokenizers;
    BERT's doc_stride is the step from window to window.)"""
    most_windows: int = 0
    """Most windows of one example (the rest is cut and counted); 0 = as many as it takes."""

    def __post_init__(self) -> None:
        if self.stride < 0 or self.most_windows < 0:
            raise UsageError(
                f"fit: expected stride and most_windows of 0 or more, found {self.stride} and {self.most_windows}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a task asks about, without any special token and for any family. `options` › sides › parts: a text has one
    option with one side, a pair one option with two sides, a multiple choice several options; the parts of a side are
    read one after the other. `gold` is the task's own. `symmetric`: the order of the sides means nothing."""

    options: tuple[tuple[tuple[Text, ...], ...], ...]
    gold: Any = None
    place: Place = NOWHERE
    symmetric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One sequence that an encoder reads, special tokens included [T].

    `segment` [T]: 0 up to and with the first separator, then 1. `word` [T]: the token's word, numbered over the whole
    example (option after option, side after side); −1 at special tokens. `owned` [T]: this window speaks for the
    token's word. `summary`: place of [CLS] or the extract token. `example`: number in the list given to `render_all`.
    `side`: of sides read apart, which; of two orders read jointly, which order. `window`: of a long text, which.
    `fresh`: tokens of the text that no earlier window shows. `cut`: tokens that no window shows (told once, at window
    0, for all windows).
    """

    ids: Ints
    segment: Ints
    word: Ints
    owned: Bits
    summary: int | None
    example: int
    option: int
    side: int
    window: int
    fresh: int
    cut: int
    forms: Forms = field(default_factory=dict)
    """Spellings of the ids that are unseen words, and perhaps of others."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How much text there was: `tokens` in all; `beyond`: those that a single window cannot show; `cut`: those that
    no window shows; `examples` of which the limit bound `long`."""

    tokens: int
    beyond: int
    cut: int
    examples: int
    long: int

    def __add__(self, other: "Tally") -> "Tally":
        """Both sets of examples together."""
        return Tally(
            tokens=self.tokens + other.tokens,
            beyond=self.beyond + other.beyond,
            cut=self.cut + other.cut,
            examples=self.examples + other.examples,
            long=self.long + other.long,
        )

    def __str__(self) -> str:
        if not self.long:
            return f"all {self.examples} texts fit"
        share, lost = 100 * self.beyond / self.tokens, 100 * self.cut / self.tokens
        return f"{self.long} of {self.examples} texts exceed the limit by {share:.1f} % of all tokens; {lost:.1f} % were cut"


class Side(NamedTuple):
    """One side's tokens: ids and word numbers [T], and how unseen words are spelled."""

    ids: Ints
    word: Ints
    forms: Forms

    def keep(self, places: Ints) -> "Side":
        return Side(self.ids[places], self.word[places], self.forms)


def render(
    example: Example,
    tokenizer: Tokenizer,
    template: Template,
    reads: Literal["joint", "apart"] = "joint",
    fit: Fit = Fit(),
    limit: int | None = None,
) -> list[Rendered]:
    """One example's sequences, each of at most `limit` tokens (None: any); see `render_all`."""
    return render_all([example], tokenizer, template, reads, fit, limit)[0]


def render_all(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    template: Template,
    reads: Literal["joint", "apart"] = "joint",
    fit: Fit = Fit(),
    limit: int | None = None,
) -> list[list[Rendered]]:
    """The sequences of many examples (their texts are encoded in one call).

    Errors: fit "refuse" and a long example → DataError at the example's place; a limit that the special tokens alone
    fill → UsageError.
    """
    texts = [text for e in examples for option in e.options for side in option for text in side]
    encodings = iter(tokenizer.encode(texts))
    return [
        _example(number, example, encodings, _Rules(tokenizer.special, template, fit, limit), reads)
        for number, example in enumerate(examples)
    ]


def tally(rendered: Iterable[Sequence[Rendered]]) -> Tally:
    """What the limit did to a set of examples, so that the share can always be printed."""
    tokens = beyond = cut = count = long = 0
    for sequences in rendered:
        lost = sum(one.cut for one in sequences)
        later = sum(one.fresh for one in sequences if one.window)
        tokens += lost + sum(one.fresh for one in sequences)
        beyond, cut, count, long = beyond + later + lost, cut + lost, count + 1, long + bool(later + lost)
    return Tally(tokens=tokens, beyond=beyond, cut=cut, examples=count, long=long)


class _Rules(NamedTuple):
    special: Any
    template: Template
    fit: Fit
    limit: int | None

    def room(self, sides: int) -> int | None:
        """Tokens of text that one sequence of `sides` sides can hold."""
        if self.limit is None:
            return None
        t = self.template
        marks = bool(t.start) + bool(t.end) + (sides - 1) * bool(t.between)
        if self.limit - marks < sides:
            raise UsageError(
                f"a limit of {self.limit} tokens leaves no room for text: {marks} are special tokens",
                remedy=f"set a limit of at least {marks + sides}",
            )
        return self.limit - marks


def _example(number: int, example: Example, encodings: Iterator[Encoding], rules: _Rules, reads: str) -> list[Rendered]:
    found: list[Rendered] = []
    words = 0
    for option, given in enumerate(example.options):
        sides = []
        for parts in given:
            side, words = _side([next(encodings) for _ in parts], words)
            sides.append(side)
        groups = [sides] if reads == "joint" else [[side] for side in sides]
        if reads == "joint" and rules.template.both_orders and len(sides) == 2:
            groups.append(sides[::-1])
        for side_number, group in enumerate(groups):
            again = reads == "joint" and side_number > 0  # the second order shows nothing new
            found += _group(group, rules, example.place, (number, option, side_number), again)
    return found


def _side(encodings: Sequence[Encoding], words: int) -> tuple[Side, int]:
    """The parts of a side one after the other; word numbers go on from `words`, and the next free one comes back."""
    ids, word = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for encoding in encodings:
        ids.append(np.asarray(encoding.ids, np.int64))
        word.append(np.asarray(encoding.word, np.int64) + words)
        words += int(encoding.word.max()) + 1 if len(encoding.word) else 0
    return Side(np.concatenate(ids), np.concatenate(word), joined(encoding.forms for encoding in encodings)), words


def joined(forms: Iterable[Forms | None]) -> Forms:
    """All these spellings together."""
    found: dict[int, str] = {}
    for some in forms:
        found.update(some or ())
    return found


def _group(sides: list[Side], rules: _Rules, place: Place, where: tuple[int, int, int], again: bool) -> list[Rendered]:
    """The sequences of sides that are read together."""
    room, fit = rules.room(len(sides)), rules.fit
    sizes = [len(side.ids) for side in sides]
    total = sum(sizes)
    if room is None or total <= room:
        return [_sequence(sides, None, rules, where, 0, 0 if again else total, 0, again)]
    if fit.policy == "refuse":
        raise DataError(
            f"the text has {total} tokens, and the model reads at most {room}",
            file=place.file or None,
            place=f"line {place.line}" if place.line else "",
            remedy='shorten it, or set fit.policy = "window" or "cut"',
        )
    if fit.policy == "cut":
        kept = [s.keep(_kept(len(s.ids), n, fit.side)) for s, n in zip(sides, _longest_first(sizes, room), strict=True)]
        return [_sequence(kept, None, rules, where, 0, 0 if again else room, 0 if again else total - room, again)]
    return _windows(sides, sizes, room, rules, where, again)


def _windows(
    sides: list[Side], sizes: list[int], room: int, rules: _Rules, where: tuple[int, int, int], again: bool
) -> list[Rendered]:
    fit, long = rules.fit, int(np.argmax(sizes))
    others = [n for i, n in enumerate(sizes) if i != long]
    fitted = _longest_first(others, min(sum(others), room // 2))
    kept_sizes = [*fitted[:long], sizes[long], *fitted[long:]]
    kept = [s.keep(_kept(len(s.ids), n, fit.side)) for s, n in zip(sides, kept_sizes, strict=True)]
    text = kept[long]
    spans = _spans(text.word, room - sum(fitted), fit.stride)
    if fit.most_windows:
        spans = [spans[i] for i in _kept(len(spans), min(fit.most_windows, len(spans)), fit.side)]
    shown = np.zeros(sizes[long], np.bool_)
    owner = _owners(text.word, spans)
    fresh = []
    for start, stop in spans:
        fresh.append(int((~shown[start:stop]).sum()))
        shown[start:stop] = True
    cut = int((~shown).sum()) + sum(others) - sum(fitted)
    fresh[0] += sum(fitted)
    made = []
    for window, (start, stop) in enumerate(spans):
        views = list(kept)
        views[long] = text.keep(np.arange(start, stop))
        owned = [np.full(len(v.ids), window == 0) for v in views]
        owned[long] = owner[start:stop] == window
        told = (0, 0) if again else (fresh[window], cut if window == 0 else 0)
        made.append(_sequence(views, owned, rules, where, window, *told, again))
    return made


def _longest_first(sizes: list[int], room: int) -> list[int]:
    """Sizes cut to `room` in all, always a token of the longest (the last of equals, as google-research/bert does)."""
    level, above = 0, max(sizes, default=0) + 1  # the largest level at which all fit
    while above - level > 1:
        middle = (level + above) // 2
        level, above = (middle, above) if sum(min(n, middle) for n in sizes) <= room else (level, middle)
    answer = [min(n, level) for n in sizes]
    for i, n in enumerate(sizes):  # what is left over goes to the first that can use it
        if n > level and sum(answer) < room:
            answer[i] += 1
    return answer


def _kept(size: int, keep: int, side: str) -> Ints:
    """Which `keep` of `size` tokens stay when the rest is left out at `side`."""
    head = {"end": keep, "start": 0, "middle": keep - keep // 2}[side]
    return np.concatenate([np.arange(head), np.arange(size - (keep - head), size)])


def _spans(word: Ints, room: int, stride: int) -> list[tuple[int, int]]:
    """Windows [start, stop) of at most `room` tokens over a text [T], cut between words wherever a word fits."""
    size, stride = len(word), min(stride, room // 2)
    begins = np.flatnonzero(np.diff(word, prepend=-1) != 0)  # where a word starts
    spans: list[tuple[int, int]] = []
    start = 0
    while True:
        stop = start + room
        if stop >= size:
            return [*spans, (start, size)]
        before = int(begins[np.searchsorted(begins, stop, "right") - 1])
        stop = before if before > start else stop
        spans.append((start, stop))
        after = np.searchsorted(begins, max(stop - stride, start + 1), "left")
        start = min(int(begins[after]), stop) if after < len(begins) else stop


def _owners(word: Ints, spans: list[tuple[int, int]]) -> Ints:
    """The window that owns each token [T] of a text (−1: none): of those that show its word's first token, the one
    that shows most on the word's poorer side, the first of equals."""
    begins = np.flatnonzero(np.diff(word, prepend=-1) != 0)
    ends = np.append(begins[1:], len(word))
    best = np.full(len(begins), np.iinfo(np.int64).min)
    owner = np.full(len(begins), -1)
    for window, (start, stop) in enumerate(spans):
        context = np.minimum(begins - start, stop - ends)
        better = (begins >= start) & (begins < stop) & (context > best)
        best[better], owner[better] = context[better], window
    return np.repeat(owner, ends - begins)


def _sequence(
    sides: list[Side],
    owned: list[Bits] | None,
    rules: _Rules,
    where: tuple[int, int, int],
    window: int,
    fresh: int,
    cut: int,
    again: bool,
) -> Rendered:
    """[start] side [between side]… [end]."""
    template = rules.template
    parts = [_mark(rules, template.start, 0)]
    for i, side in enumerate(sides):
        mine = np.full(len(side.ids), not again) if owned is None else owned[i] & (not again)
        parts.append((side.ids, side.word, mine, np.full(len(side.ids), min(i, 1))))
        parts.append(_mark(rules, template.between if i < len(sides) - 1 else template.end, i))
    ids, word, own, segment = (np.concatenate(column) for column in zip(*parts, strict=True))
    example, option, side_number = where
    return Rendered(
        ids=ids,
        segment=segment,
        word=word,
        owned=own,
        summary={"start": 0, "end": len(ids) - 1}.get(template.summary),
        example=example,
        option=option,
        side=side_number,
        window=window,
        fresh=fresh,
        cut=cut,
        forms=joined(side.forms for side in sides),
    )


def _mark(rules: _Rules, token: str, side: int) -> tuple[Ints, Ints, Bits, Ints]:
    """A special token as ids, words, owned, segments [0 or 1]."""
    size = int(bool(token))
    ids = np.full(size, rules.special[token] if token else 0)
    return ids, np.full(size, -1), np.zeros(size, np.bool_), np.full(size, min(side, 1))
