"""New words for a pretrained vocabulary: entries of their own for a domain's words, started from the pieces they had.

Adding words was asked for from the first (google-research/bert#9, huggingface/transformers#1413), and the usual answer
starts their vectors at random. Hewitt (2021, "Initializing New Word Embeddings for Pretrained Language Models") shows
what that costs: a random row's logit can drown all others, and the first updates only undo it; a mean of rows that are
there cannot. Here it is the mean of the word's own pieces (Gee et al. 2022, "Fast Vocabulary Transfer for Language
Model Compression"). The output bias is their mean too: every new logit is then the mean of its pieces' logits,
whatever the hidden vector, so a new word never outbids its likeliest piece. (The logarithm of the summed probabilities
would: a word is rarer than each of its pieces, not as frequent as all together.)

V old entries · n new ones · D width
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.bundle import SOURCE, Pretrained, Provenance, machine
from foretext.errors import DataError, UsageError, no_file
from foretext.models.catalog import family, resolve
from foretext.text.sentences import HAN
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig
from foretext.text.tokenizers.counting import count_words
from foretext.text.tokenizers.spelling import Spelling, Whole, WordPiece, unknown_token
from foretext.text.tokenizers.splitting import Splitter
from foretext.types import Arrays, Corpus, Tokenizer

_HAN = re.compile(f"[{HAN}]")
MOST = 1000
"""Most words added, unless the caller says how many."""
MIN_COUNT = 5
"""Words seen less often are not added: too few places to learn a vector from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How a vocabulary spells the running words of a corpus, punctuation marks too, as its tokenizer cuts them. Where
    the corpus has more distinct words than `TokenizerConfig.most_words`, its rarest are not counted."""

    words: int
    """Running words."""
    whole: float
    """Share of them that are one known entry."""
    pieces: float
    """Pieces a word."""
    unknown: float
    """Share of the words that hold an unknown token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedWord:
    """A new entry: how often the corpus has it, and the pieces it was spelled with before."""

    word: str
    count: int
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A vocabulary with new words. `added`: in the order of their ids, which follow the old ones. `left_out`: (word,
    why) of words that were asked for. `notes`: what else a user should know."""

    pretrained: Pretrained
    before: Coverage
    after: Coverage
    added: tuple[AddedWord, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def extend(
    source: Pretrained, corpus: Corpus, *, words: Sequence[str] | None = None, most: int = MOST, min_count: int = MIN_COUNT
) -> Extension:
    """`source` with new entries at the end of its vocabulary: old ids, old rows and all else stay as they are, to the
    bit. The result is not saved; its provenance names the source.

    WordPiece: without `words`, the corpus's words that are not one piece, at most `most` of those seen `min_count`
    times, by the pieces they save: count · (pieces − 1), an unknown token counted as one piece more. Numbers and
    punctuation are left out. A word that begins with a new word is spelled with it from now on (the longest match
    wins); every other keeps its ids. A word that would make another word of the corpus unknown is not added. Where
    Chinese is cut by character, a word of several characters cannot be an entry: missing characters are added instead.
    A lexicon of words or characters: the unknown ones are added, and as they have no pieces they start at the mean row,
    as ULMFiT's unseen words do (Howard and Ruder 2018, imdb_scripts/finetune_lm.py); so does a WordPiece entry whose
    spelling was unknown alone. Such a vector says nothing until pretraining goes on from it. A family that makes
    vectors of letters starts a new word at the vector that it had before.

    Errors: a byte-level BPE or unigram vocabulary, in which words are not looked up → UsageError; nothing to add →
    DataError.
    """
    if most < 1 or min_count < 1:
        raise UsageError(f"most and min_count: expected at least 1, found {most} and {min_count}")
    old = _open_vocabulary(source)
    counted = count_words(old.config, corpus)
    wanted, left_out = (_ranked(old, counted, min_count), []) if words is None else _asked(old, words)
    chosen, harmful = _harmless(old, counted, wanted[:most] if words is None else wanted)
    if not chosen:
        why = "; ".join(f"{word}: {reason}" for word, reason in [*left_out, *harmful][:3])
        few = f"no word seen {min_count} times or more lacks an entry" if words is None else "none of the words can be added"
        raise DataError(
            f"{few}{f' ({why})' if why else ''}", remedy="lower --min-count, or name the words with --words" if words is None else ""
        )
    tokenizer = _tokenizer(old, chosen, counted)
    made = replace(
        source,
        recipe=replace(source.recipe, tokenizer=tokenizer.config),
        tokenizers={**source.tokenizers, SOURCE: tokenizer},
        arrays=_arrays(source, tokenizer, chosen),
        path=None,
        key="",
    )
    before, after = coverage(old, counted), coverage(tokenizer, counted)
    results = _results(before, after)
    came = Provenance(corpus=corpus.key, recipe=made.recipe.key(), source=source.key, machine=machine(), results=results)
    return Extension(
        pretrained=replace(made, provenance=came),
        before=before,
        after=after,
        added=tuple(_told(old, counted, word) for word in chosen),
        left_out=(*left_out, *harmful) if words is not None else (),
        notes=_notes(old, counted, chosen, spelled=family(source.recipe.family.name).spelling is not None),
    )


def with_words(old: Tokenizer, corpus: Corpus, *, min_count: int) -> tuple[Tokenizer, int]:
    """`old` with every word of the corpus after its own that it lacks and that is seen `min_count` times, the most
    frequent first (numbers and signs too: a lexicon has them), and how many these are. Only a lexicon of words or
    characters grows; any other tokenizer is answered as it is."""
    if not isinstance(old, ChunkTokenizer) or not isinstance(old.spelling, Whole):
        return old, 0
    counted, taken = count_words(old.config, corpus), set(old.pieces)
    words = [word for word, count in counted.items() if count >= max(1, min_count) and word not in taken]
    return (_tokenizer(old, words, counted), len(words)) if words else (old, 0)


def _open_vocabulary(source: Pretrained) -> ChunkTokenizer:
    """The tokenizer of a model that can have new words; UsageError for any other."""
    old, closed = source.tokenizer, getattr(source.recipe.family, "closed", "")
    if closed:
        raise UsageError(f"its vocabulary cannot be extended: {closed}", file=source.path, remedy="pretrain with a new vocabulary")
    if not isinstance(old, ChunkTokenizer) or not isinstance(old.spelling, Whole | WordPiece):
        raise UsageError(
            "only WordPiece vocabularies and lexicons of words or characters can be extended",
            file=source.path,
            remedy="byte-level BPE and unigram pieces are learnt together: pretrain with a new vocabulary",
        )
    return old
def _results(before: Coverage, after: Coverage) -> dict[str, float]:
    return {
        f"{name} {when}": value
        for when, found in (("before", before), ("after", after))
        for name, value in (("share of whole words", found.whole), ("pieces a word", found.pieces), ("share unknown", found.unknown))
    }


def coverage(tokenizer: ChunkTokenizer, counted: Mapping[str, int]) -> Coverage:
    """How `tokenizer` spells these words (folded word → count)."""
    unknown = _unknown(tokenizer)
    words = whole = pieces = lost = 0
    for word, count in counted.items():
        ids = [number for number, _, _ in tokenizer.spelling.spell(word)]
        missed = ids.count(unknown)
        words, pieces, lost = words + count, pieces + count * len(ids), lost + count * (missed > 0)
        whole += count * (len(ids) == 1 and not missed)
    return Coverage(words=words, whole=whole / max(1, words), pieces=pieces / max(1, words), unknown=lost / max(1, words))


def read_words(file: str | Path) -> list[str]:
    """The words of a UTF-8 file, one a line; empty lines are skipped. Missing → UsageError, no UTF-8 → DataError."""
    try:
        return [line.strip() for line in Path(file).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (FileNotFoundError, IsADirectoryError) as error:
        raise no_file(file, "give a text file with one word a line") from error
    except UnicodeDecodeError as error:
        raise DataError("not readable as UTF-8", file=file, place=f"byte {error.start}") from error


# ── which words ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _ranked(old: ChunkTokenizer, counted: Mapping[str, int], min_count: int) -> list[str]:
    """Words that are no entry, the most saved pieces first; equal ones in code point order."""
    unknown, taken = _unknown(old), set(old.pieces)
    saved: dict[str, int] = {}
    for word, count in counted.items():
        if count < min_count or word in taken or not _lettered(word):
            continue
        ids = [number for number, _, _ in old.spelling.spell(word)]
        saved[word] = count * (len(ids) - 1 + ids.count(unknown))
    return sorted((word for word in saved if saved[word]), key=lambda word: (-saved[word], word))


def _lettered(word: str) -> bool:
    """Whether it begins with a letter and holds no sign: no number, no punctuation."""
    return word[0].isalpha() and all(letter.isalnum() or unicodedata.category(letter)[0] == "M" for letter in word)


def _asked(old: ChunkTokenizer, words: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The user's words as the tokenizer folds them, each once, and those that cannot be entries, with the reason."""
    splitter, taken = Splitter(old.config), set(old.pieces)
    found: dict[str, None] = {}
    left_out: list[tuple[str, str]] = []
    for asked in words:
        parts = [word.string for chunk in splitter.chunks(asked) for word in splitter.words(chunk)]
        if len(parts) > 1 and _by_character(old) and all(map(_HAN.match, parts)):
            left_out.append((asked, "Chinese is cut by character, so a word of several cannot be matched"))
        elif len(parts) != 1:
            left_out.append((asked, f"the tokenizer cuts it into {' | '.join(parts)}" if parts else "nothing is left of it"))
            continue
        new = [part for part in parts if part not in taken]
        if len(parts) == 1 and not new:
            left_out.append((asked, "it is an entry already"))
        found.update(dict.fromkeys(new))
    return list(found), left_out


def _harmless(
    old: ChunkTokenizer, counted: Mapping[str, int], wanted: Sequence[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """`wanted` without the words that would make another word of the corpus unknown: WordPiece takes the longest match
    and never looks back, so "ab" added to "a", "##bc" leaves nothing for the "c" of "abc"."""
    chosen, harmful = list(wanted), list[tuple[str, str]]()
    if isinstance(old.spelling, Whole):
        return chosen, harmful
    unknown = _unknown(old)
    while chosen:
        new = _tokenizer(old, chosen, counted)
        broken: dict[str, str] = {}
        for word in counted:
            ids = [number for number, _, _ in new.spelling.spell(word)]
            if unknown not in ids:
                continue
            before = [number for number, _, _ in old.spelling.spell(word)]
            if ids.count(unknown) > before.count(unknown):
                broken.setdefault(_culprit(word, chosen), word)
        if not broken:
            break
        harmful += [(word, f"it would make {other!r} unknown") for word, other in broken.items()]
        chosen = [word for word in chosen if word not in broken]
    return chosen, harmful


def _culprit(word: str, chosen: Iterable[str]) -> str:
    """The longest new word that `word` begins with."""
    return max((new for new in chosen if word.startswith(new)), key=len)


def _notes(old: ChunkTokenizer, counted: Mapping[str, int], chosen: Sequence[str], *, spelled: bool) -> tuple[str, ...]:
    notes = []
    if _by_character(old) and any(map(_HAN.match, counted)):
        added = sum(_HAN.match(word) is not None for word in chosen)
        notes.append(f"Chinese is cut by character here: its words cannot be entries; {added:,} missing characters were added")
    bare = 0 if spelled else sum(not _known_pieces(old, word) for word in chosen)
    if bare:
        notes.append(f"{bare:,} had no known piece and start at the mean row, which says nothing until pretraining goes on")
    return tuple(notes)


def _by_character(old: ChunkTokenizer) -> bool:
    return old.config.kind == "characters" or (old.config.kind == "wordpiece" and old.config.chinese == "characters")


# ── what they start as ──────────────────────────────────────────────────────────────────────────────────────────────


def _tokenizer(old: ChunkTokenizer, words: Sequence[str], counted: Mapping[str, int]) -> ChunkTokenizer:
    """The old entries, then `words`."""
    pieces, config, unknown = [*old.pieces, *words], old.config, _unknown(old)
    if isinstance(old.spelling, Whole):
        known = any(old.spelling.counts)  # other programs' vectors come without counts: a few known ones would make all others 0
        counts = [*old.spelling.counts, *(counted.get(word, 0) if known else 0 for word in words)]
        return ChunkTokenizer(config, old.spelling.same(pieces, counts, len(config.special)))
    sized: TokenizerConfig = replace(config, size=len(pieces))
    spelling: Spelling = WordPiece(pieces, frozenset(old.special.values()), unknown, whole_unknown=config.unseen == "word")
    return ChunkTokenizer(sized, spelling)


def _arrays(source: Pretrained, tokenizer: ChunkTokenizer, words: Sequence[str]) -> Arrays:
    old: Any = source.tokenizer
    arrays = {name: _longer(name, array, old, words) for name, array in source.arrays.items()}
    grow = family(source.recipe.family.name).extended
    if grow is None:
        return arrays
    made: Arrays = resolve(grow)(source.recipe.family, arrays, old, tokenizer)
    return made


def _longer(name: str, array: NDArray[Any], old: ChunkTokenizer, words: Sequence[str]) -> NDArray[Any]:
    """An array with n more rows where its rows are the vocabulary's: embedding tables [V,D], and a head's output bias
    [V]. Others as they are."""
    table = name.endswith(".table.weight")
    bias = name.startswith("heads.") and name.endswith(".bias") and name.count(".") == 2
    if not (table or bias) or array.shape[0] != old.size:
        return array
    ordinary = np.delete(np.arange(old.size), list(old.special.values()))
    mean = array[ordinary].mean(axis=0, dtype=np.float64)
    rows = [array[ids].mean(axis=0, dtype=np.float64) if (ids := _known_pieces(old, word)) else mean for word in words]
    return np.concatenate([array, np.stack(rows).astype(array.dtype)])


def _known_pieces(old: ChunkTokenizer, word: str) -> list[int]:
    """The ids that spell the word, without the unknown token."""
    unknown = _unknown(old)
    return [number for number, _, _ in old.spelling.spell(word) if number != unknown]


def _told(old: ChunkTokenizer, counted: Mapping[str, int], word: str) -> AddedWord:
    pieces = tuple(old.pieces[number] for number, _, _ in old.spelling.spell(word))
    return AddedWord(word=word, count=counted.get(word, 0), pieces=pieces)


def _unknown(tokenizer: ChunkTokenizer) -> int:
    return tokenizer.special[unknown_token(tokenizer.config.kind, tokenizer.config.special) or ""]
