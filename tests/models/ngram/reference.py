"""Modified Kneser-Ney written slowly, with dictionaries, from Chen and Goodman 1998: the oracle of the fast tables."""

from collections import Counter, defaultdict
from collections.abc import Sequence

Gram = tuple[int, ...]
START = -7
"""A start symbol of its own, which the model writes with the same id as the end: no probability may tell the two apart."""


class Reference:
    """`units`: sentences of ids without ends; `end`: the id that is predicted after each."""

    def __init__(self, units: Sequence[Sequence[int]], order: int, vocabulary: int, end: int) -> None:
        self.order, self.vocabulary, self.end = order, vocabulary, end
        raw: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        for unit in units:
            line = [START, *unit, end]
            for stop in range(2, len(line) + 1):
                for size in range(1, order + 1):
                    if stop - size >= 0:
                        raw[size][tuple(line[stop - size : stop])] += 1
        self.counts: list[dict[Gram, int]] = [{} for _ in range(order + 1)]
        for size in range(1, order + 1):
            left: dict[Gram, set[int]] = defaultdict(set)
            if size < order:
                for gram in raw[size + 1]:
                    left[gram[1:]].add(gram[0])
            for gram, count in raw[size].items():
                self.counts[size][gram] = count if size == order or gram[0] == START else len(left[gram])
        self.discounts = [self._discounts(list(level.values())) for level in self.counts]

    @staticmethod
    def _discounts(counts: list[int]) -> list[float]:
        n = [0, *(sum(count == i for count in counts) for i in (1, 2, 3, 4))]
        if 0 in n[1:]:
            return [0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return found if all(0 < d <= i for i, d in enumerate(found, start=1)) else [0.5, 1.0, 1.5]

    def p(self, word: int, history: Gram) -> float:
        """p(word | history), history oldest first, at most order − 1 long, beginning with START where a unit does."""
        size = len(history) + 1
        lower = self.p(word, history[1:]) if history else 1.0 / self.vocabulary
        followers = {gram: count for gram, count in self.counts[size].items() if gram[:-1] == history}
        total = sum(followers.values())
        if not total:
            return lower
        cut = self.discounts[size]
        gamma = sum(cut[min(count, 3) - 1] for count in followers.values()) / total
        own = followers.get((*history, word), 0)
        return (own - cut[min(own, 3) - 1] if own else 0.0) / total + gamma * lower
