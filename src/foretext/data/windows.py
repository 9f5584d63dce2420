"""Windows over a token store: an epoch planned in blocks, and rows taken out of it as numpy batches.

A plan is a pure function of (seed, epoch, block). Sections (runs of one document's sentences, all trained on or all
held out) are dealt to blocks once, by a permutation of the seed; every epoch visits the blocks in another order and
shuffles the rows of each. So the number of rows of a block can be known without reading the epochs before.

`copies = n` is google-research/bert's `dupe_factor`: that program writes every document n times, each time with new
cuts, pairs and masks, and training passes over the result again and again. Here epoch e reads copy e mod n (what is
drawn depends on the copy only, the order of rows on the epoch); n epochs see what one pass over its files sees.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from foretext.data.config import WindowsConfig
from foretext.data.packing import packed, single
from foretext.data.pairs import plan_pairs, refuse_one_document
from foretext.data.plan import Plan, offsets, scatter, spread
from foretext.draws import generator, number
from foretext.errors import DataError
from foretext.types import Batch, Ints, Origin, Target, Template, TokenBatch, Tokenizer

# R rows, T tokens a row, S sequences, N tokens of the batch that are no padding

PAD = "[PAD]"


class Store(Protocol):
    """What windows need of `text.store.TokenStore`."""

    @property
    def ids(self) -> Ints: ...
    @property
    def word_starts(self) -> Any: ...
    @property
    def sentences(self) -> Ints: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def key(self) -> str: ...
    def sections(self, held_out: bool) -> Ints: ...
    def let_go(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Blocks:
    """The sections [k,3] in the seed's order, and where each block of them begins [n+1]; `pool` [m,3]: the sections as
    the store has them, for the random Bs of pairs (m = 0 otherwise)."""

    sections: Ints
    bounds: Ints
    pool: Ints


class Windows:
    """Plans and takes windows of one kind; see `WindowsConfig.kind`. Final."""

    def __init__(self, config: WindowsConfig, template: Template, seed: int = 0) -> None:
        self.config, self.template, self.seed = config, template, seed
        self._blocks: dict[tuple[str, bool], Blocks] = {}
        self._order: tuple[tuple[int, int], Ints] = ((-1, 0), np.empty(0, np.int64))

    @property
    def specials(self) -> int:
        """Special tokens of one sequence."""
        pieces = [self.template.start, self.template.end]
        return sum(map(bool, [*pieces, self.template.between] if self.config.kind == "pairs" else pieces))

    def copy(self, epoch: int) -> int:
        """The copy of the instances that an epoch reads (copies = 0: its own)."""
        return epoch % self.config.copies if self.config.copies else epoch

    def blocks(self, store: Store, held_out: bool) -> int:
        """How many blocks an epoch has; 0 when the part has no token."""
        return len(self._deal(store, held_out).bounds) - 1

    def instances(self, store: Store, held_out: bool, copy: int, block: int) -> Plan:
        """The rows that a copy has in a block, in the order they were made; DataError when no pair can be made."""
        dealt = self._deal(store, held_out)
        sections = dealt.sections[dealt.bounds[block] : dealt.bounds[block + 1]]
        rng = generator(self.seed, "held-out windows" if held_out else "windows", copy, block)
        room, sentences = self.config.length - self.specials, np.asarray(store.sentences)
        if self.config.kind == "pairs":
            return plan_pairs(sections, dealt.pool, sentences, room=room, short=self.config.short, rng=rng)
        starts = sentences[sections[:, 0]]
        lengths = sentences[sections[:, 1]] - starts
        planner = packed if self.config.kind == "packed" else single
        return planner(starts, lengths, self.specials, self.config.length, rng)

    def plan(self, store: Store, held_out: bool, epoch: int, block: int) -> Plan | None:
        """Block number `block` of an epoch, rows shuffled; None past the last block."""
        count = self.blocks(store, held_out)
        if block >= count:
            return None
        instances = self.instances(store, held_out, self.copy(epoch), self.which(store, held_out, epoch, block))
        return instances.select(generator(self.seed, "rows", epoch, block).permutation(len(instances)))

    def which(self, store: Store, held_out: bool, epoch: int, block: int) -> int:
        """The block of sections that an epoch visits at place `block`."""
        count = self.blocks(store, held_out)
        if (epoch, count) != self._order[0]:
            self._order = (epoch, count), generator(self.seed, "blocks", epoch).permutation(count)
        return int(self._order[1][block])

    def counted_as(self, store: Store, held_out: bool, epoch: int, block: int) -> tuple[int, int]:
        """Blocks with equal answers have equally many rows: how text is cut and packed depends on its lengths only,
        how it is paired on the copy too."""
        copy = self.copy(epoch) if self.config.kind == "pairs" else 0
        return copy, self.which(store, held_out, epoch, block)

    def keys(self, plan: Plan, epoch: int) -> Ints:
        """A number a sequence [S]: what is drawn for a sequence (its masks) is a function of it. It depends on the
        seed, the copy and the sequence's own tokens, never on the batch or on the order."""
        return plan.keys(number(self.seed, "sequences", self.copy(epoch)))

    def take(self, store: Store, plan: Plan, *, words: bool = False, trim: bool = True) -> Batch:
        """All rows of a plan as one rectangle [R,T], view "text" (numpy).

        Packed rows have T = length; rows of one sequence are cut to the longest of them, rounded up to a multiple of
        8 (`trim`). Pairs bring the target "next_sentence": at = sequence numbers, gold 0 = B follows A, 1 = random.
        `words`: `origin.words` gets each word's first token: (sequence, word, row, token).
        """
        lengths = plan.runs[:, 1] + plan.runs[:, 3] + self.specials
        width = self.config.length
        if trim and self.config.kind != "packed" and len(lengths):
            width = min(width, -(-int(lengths.max()) // 8) * 8)
        view = _rectangle(store, plan, self.template, lengths, width, words)
        if self.config.kind != "pairs":
            return Batch(views={"text": view})
        at = np.arange(len(lengths))
        return Batch(
            views={"text": view},
            targets={"next_sentence": Target(at=at, gold=plan.random.astype(np.int64), count=len(at))},
        )

    def _deal(self, store: Store, held_out: bool) -> Blocks:
        known = self._blocks.get((store.key, held_out))
        if known is None:
            sections = _with_text(store, held_out)
            pool = sections if self.config.kind == "pairs" else sections[:0].copy()
            if len(pool):
                if held_out and len(np.unique(pool[:, 2])) < 2:
                    pool = _with_text(store, False)  # too few held-out documents: their random Bs are training text
                refuse_one_document(pool)
            known = _deal(sections, pool, np.asarray(store.sentences), self.config.block, self.seed)
            self._blocks[store.key, held_out] = known
        return known


def make_windows(config: WindowsConfig, template: Template, seed: int = 0) -> Windows:
    """Windows of the configured kind; DataError when the template's special tokens leave no room for pairs."""
    if config.kind == "pairs" and not (template.between or template.segments):
        raise DataError(
            "pairs need a template that keeps A and B apart (a token between them, or segments), found neither",
            remedy='use windows.kind = "packed"',
        )
    return Windows(config, template, seed)


def _with_text(store: Store, held_out: bool) -> Ints:
    """The part's sections that hold at least one token [k,3]; narrow, since a corpus of short messages has tens of
    millions of them."""
    narrow = np.int32 if len(store.sentences) <= np.iinfo(np.int32).max else np.int64
    sections = np.asarray(store.sections(held_out)).astype(narrow).reshape(-1, 3)
    filled: Ints = sections[store.sentences[sections[:, 1]] > store.sentences[sections[:, 0]]]
    return filled


def _deal(sections: Ints, pool: Ints, sentences: Ints, block: int, seed: int) -> Blocks:
    """Sections in a random order, in blocks of about `block` tokens (never an empty one).

    A section longer than a block is split between sentences. With sections ≤ B tokens and blocks ≥ B tokens each,
    a section begins in every block.
    """
    sections = _split(sections, sentences, block)
    sections = sections[generator(seed, "deal").permutation(len(sections))]
    starts = offsets(sentences[sections[:, 1]].astype(np.int64) - sentences[sections[:, 0]].astype(np.int64))
    total = int(starts[-1])
    if not total:
        return Blocks(sections, np.zeros(1, np.int64), pool)
    largest = int(np.diff(starts).max())
    count = max(1, total // max(block, largest))
    of_section = starts[:-1] * count // total
    return Blocks(sections, np.searchsorted(of_section, np.arange(count + 1), "left"), pool)


def _split(sections: Ints, sentences: Ints, block: int) -> Ints:
    """Sections of more than `block` tokens split at sentence ends into parts of about half to one block."""
    first, last = sections[:, 0], sections[:, 1]
    starts = sentences[first].astype(np.int64)
    lengths = sentences[last].astype(np.int64) - starts
    parts = -(-lengths // block)
    if not len(sections) or parts.max() == 1:
        return sections
    which = np.repeat(np.arange(len(sections)), parts)
    part = spread(np.zeros(len(sections), np.int64), parts)
    ideal = starts[which] + part * lengths[which] // parts[which]
    begin = np.maximum(np.searchsorted(sentences, ideal, "left"), first[which])
    begin[part == 0] = first
    following = np.append(begin[1:], 0)
    end = np.where(part == parts[which] - 1, last[which], following)
    split = np.stack([begin, end, sections[which, 2]], 1)
    filled: Ints = split[sentences[split[:, 1]] > sentences[split[:, 0]]]
    return filled


def _rectangle(store: Store, plan: Plan, template: Template, lengths: Ints, width: int, words: bool) -> TokenBatch:
    """The rows of a plan laid out: [start] A [between B] [end], sequence after sequence."""
    special = store.tokenizer.special
    a_first, a_size, b_first, b_size = plan.runs.T
    head, tail = int(bool(template.start)), int(bool(template.end))
    gap = lengths - a_size - b_size - head - tail  # 1 where a separator stands between A and B
    before = offsets(lengths)[:-1]  # tokens of the plan before each sequence
    row_of = np.repeat(np.arange(len(plan)), np.diff(plan.rows))
    column = before - before[np.minimum(plan.rows[row_of], len(before) - 1)] if len(before) else before
    place = row_of * width + column
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    flat = spread(place, lengths)
    position = flat - place[sequence]
    b_from = head + a_size + gap  # position of B's first token
    in_b = position >= b_from[sequence]
    source = position + np.where(in_b, (b_first - b_from)[sequence], (a_first - head)[sequence])
    is_token = np.ones(len(flat), np.bool_)
    marks = [(before, template.start), ((before + head + a_size)[gap > 0], template.between)]
    marks.append((before + lengths - 1, template.end))
    for where, token in marks:
        if token:
            is_token[where] = False
    ids = np.empty(len(flat), np.int64)
    ids[is_token] = np.asarray(store.ids)[source[is_token]]  # a plain view: memmap's own indexing is slow
    for where, token in marks:
        if token:
            ids[where] = special[token]
    shape = (len(plan), width)
    segment = scatter(shape, flat, (in_b & (b_size > 0)[sequence]).astype(np.int64), 0) if template.segments else None
    summary = {"start": place, "end": place + lengths - 1}.get(template.summary)
    starts = _starts(store, source, is_token, 2 * sequence + in_b) if words else None
    return TokenBatch(
        ids=scatter(shape, flat, ids, special.get(PAD, 0)),
        sequence=scatter(shape, flat, sequence, -1),
        position=scatter(shape, flat, position, 0),
        bounds=np.stack([row_of, column, column + lengths], 1),
        segment=segment,
        summary=summary,
        origin=None if starts is None else _origin(flat[starts], sequence[starts], len(lengths), width),
    )


def _starts(store: Store, source: Ints, is_token: Any, run: Ints) -> Ints:
    """Which of the N tokens start a word; the first token of a run does even where the cut fell inside a word."""
    starts = np.zeros(len(source), np.bool_)
    starts[is_token] = store.word_starts[source[is_token]]
    follows = np.zeros(len(source), np.bool_)
    follows[1:] = is_token[:-1] & (run[1:] == run[:-1])
    return np.flatnonzero(is_token & (starts | ~follows))


def _origin(flat: Ints, sequence: Ints, sequences: int, width: int) -> Origin:
    """Words numbered within their sequence."""
    number_of = np.arange(len(flat)) - np.searchsorted(sequence, sequence, "left")
    words = np.stack([sequence, number_of, flat // width, flat % width], 1)
    return Origin(example=np.arange(sequences), words=words)
