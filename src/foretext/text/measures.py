"""What `foretext check` measures while it reads: words, lengths, scripts and damage, each in bounded memory."""

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from foretext.text.sentences import HAN
from foretext.text.words import word_spans
from foretext.types import Place, Sentence

MOST_WORDS = 1_000_000
"""Different words held; beyond, those seen once so far are dropped and the figures are called approximate."""

MOST_PLACES = 4
"""Places named beside the first."""

LONGEST_SENTENCE = 2000
"""Characters. Longer "sentences" mean text without sentence ends."""

_SCRIPTS = {
    "Latin": re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]"),
    "Chinese": re.compile(f"[{HAN}]"),
    "Japanese kana": re.compile("[\u3041-\u30ff\u31f0-\u31ff]"),
    "Korean": re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    "Cyrillic": re.compile("[\u0400-\u052f]"),
    "Greek": re.compile("[\u0370-\u03ff\u1f00-\u1fff]"),
    "Arabic": re.compile("[\u0600-\u06ff\u0750-\u077f]"),
    "Hebrew": re.compile("[\u0590-\u05ff]"),
    "Devanagari": re.compile("[\u0900-\u097f]"),
    "Thai": re.compile("[\u0e00-\u0e7f]"),
}
_LETTER = re.compile(r"[^\W\d_]")
_MARKUP = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>|&(?:amp|lt|gt|nbsp|quot|apos|#x?[0-9a-fA-F]{1,6});")
_UNLIKELY = re.compile("[\u00c2\u00c3\u00e2\u00e5-\u00e9\x80-\x9f\u0192\u0402-\u040f]")


@dataclass(slots=True)
class Sighting:
    """How often something was seen, and where first."""

    count: int = 0
    place: Place | None = None
    example: str = ""
    others: list[Place] = field(default_factory=list)
    """the next places, up to `MOST_PLACES`"""

    def add(self, place: Place, example: str, count: int = 1) -> None:
        """Seen `count` times more, at `place`."""
        if not self.count:
            self.place, self.example = place, example
        elif len(self.others) < MOST_PLACES and place != self.place and place not in self.others:
            self.others.append(place)
        self.count += count


@dataclass(slots=True)
class Vocabulary:
    """Word counts, case-folded: a lossy counter (Manku and Motwani 2002) that never holds much over `MOST_WORDS`."""

    counts: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    pruned: int = 0
    """tokens of words that were dropped when the table was full"""

    def add(self, string: str) -> int:
        """Count the words of `string`; returns how many there are."""
        folded = string.casefold()
        spans = word_spans(folded)
        self.counts.update([folded[start:stop] for start, stop in spans])
        self.tokens += len(spans)
        if len(self.counts) > MOST_WORDS:
            rare = [word for word, count in self.counts.items() if count == 1]
            self.pruned += len(rare)
            for word in rare:
                del self.counts[word]
        return len(spans)

    def figures(self) -> dict[str, float]:
        """Different words; the share of all tokens that the commonest 8,000 and 30,000 cover, and singletons make."""
        ranked = np.sort(np.fromiter(self.counts.values(), np.int64, len(self.counts)))[::-1]
        tokens = max(1, self.tokens)
        return {
            "words": len(ranked) + self.pruned,
            "covered_by_8000": float(ranked[:8000].sum() / tokens),
            "covered_by_30000": float(ranked[:30000].sum() / tokens),
            "seen_once": float((int((ranked == 1).sum()) + self.pruned) / tokens),
            "seen_once_of_words": float((int((ranked == 1).sum()) + self.pruned) / max(1, len(ranked) + self.pruned)),
        }


@dataclass(slots=True)
class Lengths:
    """Lengths kept as 4-byte numbers, one a document."""

    numbers: "array[int]" = field(default_factory=lambda: array("I"))

    def figures(self) -> dict[str, float]:
        """Mean, median, 5th, 95th and 100th percentile."""
        numbers = np.frombuffer(self.numbers, np.uint32) if self.numbers else np.zeros(1, np.uint32)
        at = np.percentile(numbers, [5, 50, 95, 100])
        names = ("p5", "median", "p95", "longest")
        return {"mean": float(numbers.mean()), **{name: float(value) for name, value in zip(names, at, strict=True)}}


@dataclass(slots=True)
class Damage:
    """Signs that text went through the wrong decoder, or is not running text."""

    mojibake: Sighting = field(default_factory=Sighting)
    replaced: Sighting = field(default_factory=Sighting)
    markup: Sighting = field(default_factory=Sighting)
    endless: Sighting = field(default_factory=Sighting)
    tables: Sighting = field(default_factory=Sighting)

    def add(self, sentence: Sentence) -> None:
        """Look at one sentence."""
        string, place = sentence.string, sentence.place
        if len(string) > LONGEST_SENTENCE:
            self.endless.add(place, string[:60])
        if ("<" in string or "&" in string) and (found := _MARKUP.search(string)):
            self.markup.add(place, found.group())
        if string.count("\t") >= 2:
            self.tables.add(place, string[:60])
        if string.isascii():
            return
        if "\ufffd" in string:
            self.replaced.add(place, _around(string, string.index("\ufffd")), string.count("\ufffd"))
        if (found := _UNLIKELY.search(string)) and _is_mojibake(string):
            self.mojibake.add(place, _around(string, found.start()))


def _is_mojibake(string: str) -> bool:
    """ftfy's heuristic says "bad", and ftfy finds a better reading."""
    import ftfy
    from ftfy.badness import is_bad

    return bool(is_bad(string)) and ftfy.fix_encoding(string) != string


def _around(string: str, at: int) -> str:
    return string[max(0, at - 20) : at + 20].strip()


def add_scripts(string: str, letters: Counter[str]) -> None:
    """Count the letters of `string` by script."""
    total = len(_LETTER.findall(string))
    if string.isascii():
        letters["Latin"] += total
        return
    for name, pattern in _SCRIPTS.items():
        count = len(pattern.findall(string))
        if count:
            letters[name] += count
            total -= count
    if total > 0:
        letters["other"] += total
