"""Label sets: which few texts a user with n labels a class would have.

For each seed the pool's texts of every class are put in one random order; the n-label set is the first n of each. So
a smaller set lies inside the next larger one, a class draws the same texts whatever other classes there are, and the
sets depend on nothing but (pool, seed). No rung gets any label beyond its set: there is no separate dev set, settings
that need one are fixed beforehand.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from foretext.baselines import Labelled
from foretext.draws import generator, number
from foretext.errors import DataError


def label_set(pool: Labelled, per_class: int, seed: int) -> Labelled:
    """`per_class` texts of every class, in an order that mixes the classes. DataError where a class has fewer."""
    numbers = {label: order[:per_class] for label, order in orders(pool, seed).items()}
    short = {label: len(got) for label, got in numbers.items() if len(got) < per_class}
    if short:
        worst = min(short, key=lambda label: short[label])
        raise DataError(
            f"{per_class} labels a class were asked for, but {worst!r} has only {short[worst]} training texts",
            remedy="ask for fewer labels, or leave that class out",
        )
    chosen = [n for group in numbers.values() for n in group]
    generator(seed, "label set order", per_class).shuffle(chosen)
    return pick(pool, chosen)


def orders(pool: Labelled, seed: int) -> Mapping[str, Sequence[int]]:
    """Label → the numbers of its texts in this seed's order; labels sorted."""
    by_label: dict[str, list[int]] = {label: [] for label in sorted(set(pool.labels))}
    for n, label in enumerate(pool.labels):
        by_label[label].append(n)
    for label, numbers in by_label.items():
        generator(seed, "label set", number(0, label)).shuffle(numbers)
    return by_label


def pick(data: Labelled, numbers: Sequence[int]) -> Labelled:
    """The texts with these numbers, in this order."""
    return Labelled(
        texts=tuple(data.texts[n] for n in numbers), labels=tuple(data.labels[n] for n in numbers)
    )


def check_task(pool: Labelled, test: Labelled, most: int) -> None:
    """Refuse, before anything runs, a task that cannot be scored: DataError with the rule that is broken."""
    if len(set(pool.labels)) < 2:
        raise DataError(f"expected two or more labels in the training texts, found {sorted(set(pool.labels))}")
    if not len(test):
        raise DataError("the test file holds no labelled text")
    unseen = Counter(test.labels).keys() - set(pool.labels)
    if unseen:
        raise DataError(f"the test texts have labels that no training text has: {', '.join(sorted(unseen))}")
    label_set(pool, most, 0)
