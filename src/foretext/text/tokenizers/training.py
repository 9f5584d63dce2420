"""Vocabularies from counted words: nothing here reads text, so a corpus of any size costs what its lexicon costs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from foretext.errors import DataError, UsageError
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.text.tokenizers.merges import learn_merges
from foretext.text.tokenizers.spelling import (
    BytePairs,
    Spelling,
    Unigram,
    Whole,
    WordPiece,
    byte_letters,
    special_ids,
    unknown_token,
)
from foretext.text.tokenizers.unigram import learn_unigram

MOST_LEARNT = 300_000
"""Words the merges are learnt from, the most frequent first: the rest are rare and change no merge that matters."""


def train_spelling(config: TokenizerConfig, words: Mapping[str, int]) -> Spelling:
    """`words`: folded words and their counts, most frequent first. Errors: no words → DataError; a vocabulary too
    small for its special tokens, or special tokens that repeat → UsageError."""
    special_ids(config.special, config.special)
    if any(not token or "\n" in token for token in config.special):
        raise UsageError("a special token is empty or holds a line end")
    unknown_token(config.kind, config.special)
    if not words:
        raise DataError("the corpus has no words to learn a vocabulary from")
    return _TRAINERS[config.kind](config, words)


def _train_whole(config: TokenizerConfig, words: Mapping[str, int]) -> Spelling:
    kept = [(word, count) for word, count in words.items() if count >= config.min_count]
    pieces = [*config.special, *(word for word, _ in kept)]
    counts = [0] * len(config.special) + [count for _, count in kept]
    return Whole(pieces, counts, len(config.special), _unknown(config))


def _train_wordpiece(config: TokenizerConfig, words: Mapping[str, int]) -> Spelling:
    room = _room(config, 2)
    characters: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in words.items():
        for character in word:
            characters[character] += count
        if len(word) > 1:
            inside.update(word)
    # A character that words are made of may head a word or continue one, whichever of the two was seen.
    forms = {
        character: (character, f"##{character}") if character in inside else (character,) for character in characters
    }
    kept, spare = alphabet(characters, config.coverage, forms, room)
    symbols = [form for character in kept for form in forms[character]]
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    sequences: list[list[int]] = []
    counts: list[int] = []
    for word, count in _learnt(words):
        for sequence in _spelt(word, numbers):
            sequences.append(sequence)
            counts.append(count)
    learn_merges(sequences, counts, symbols, _join_wordpiece, room, max(2, config.min_count))
    for character in spare:
        if len(symbols) + len(forms[character]) <= room:
            symbols += forms[character]
    whole = config.unseen == "word"
    return WordPiece([*config.special, *symbols], _special(config), _unknown(config), whole_unknown=whole)


def _spelt(word: str, numbers: Mapping[str, int]) -> list[list[int]]:
    """The word in symbols, broken where a character is not in the alphabet."""
    sequences: list[list[int]] = [[]]
    for at, character in enumerate(word):
        number = numbers.get(f"##{character}" if at else character)
        if number is None:
            sequences.append([])
        else:
            sequences[-1].append(number)
    return [sequence for sequence in sequences if len(sequence) > 1]


def _join_wordpiece(left: str, right: str) -> str:
    return left + right.removeprefix("##")


def _train_byte_pairs(config: TokenizerConfig, words: Mapping[str, int]) -> Spelling:
    letters = byte_letters()
    symbols = list(letters)
    sequences = [list(word.encode("utf-8", "surrogatepass")) for word, _ in _learnt(words)]
    counts = [count for _, count in _learnt(words)]
    merges = learn_merges(sequences, counts, symbols, _join, _room(config, 256), max(2, config.min_count))
    pairs = dict.fromkeys((symbols[left], symbols[right]) for left, right in merges)
    return BytePairs([*config.special, *symbols], list(pairs), _special(config))


def _join(left: str, right: str) -> str:
    return left + right


def _learnt(words: Mapping[str, int]) -> list[tuple[str, int]]:
    return list(words.items())[:MOST_LEARNT]


def _room(config: TokenizerConfig, least: int) -> int:
    room = config.size - len(config.special)
    if room < least:
        raise UsageError(
            f"a {config.kind} vocabulary of {config.size} entries with {len(config.special)} special tokens",
            remedy=f"give at least {least + len(config.special)}",
        )
    return room


def alphabet(
    counts: Mapping[str, int], coverage: float, forms: Mapping[str, Sequence[str]], room: int
) -> tuple[list[str], list[str]]:
    """The most frequent characters that together make up `coverage` of all occurrences and whose `forms` have `room`,
    in code point order; and the rest, most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    needed = coverage * sum(counts.values())
    covered = 0
    kept = 0
    for character, count in ranked:
        room -= len(forms[character])
        if covered >= needed or room < 0:
            break
        covered += count
        kept += 1
    return sorted(character for character, _ in ranked[:kept]), [character for character, _ in ranked[kept:]]


def _train_unigram(config: TokenizerConfig, words: Mapping[str, int]) -> Spelling:
    learnt = learn_unigram(_learnt(words), _room(config, 1), config.coverage)
    pieces = [*config.special, *(piece for piece, _ in learnt)]
    scores = [0.0] * len(config.special) + [score for _, score in learnt]
    return Unigram(pieces, scores, _special(config), _unknown(config))


def _special(config: TokenizerConfig) -> range:
    """Special tokens come first."""
    return range(len(config.special))


def _unknown(config: TokenizerConfig) -> int:
    return config.special.index(unknown_token(config.kind, config.special) or "")


_TRAINERS: Mapping[str, Callable[[TokenizerConfig, Mapping[str, int]], Spelling]] = {
    "words": _train_whole,
    "spaces": _train_whole,
    "characters": _train_whole,
    "wordpiece": _train_wordpiece,
    "bpe": _train_byte_pairs,
    "unigram": _train_unigram,
}
