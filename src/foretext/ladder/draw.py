"""Label sets: which few texts a user with n labels a class would have.

For each seed the pool's texts of every class are put in one random order; the n-label set is the first n of each. So
a smaller set lies inside the next larger one, a class draws the same texts whatever other classes there are, and the
sets depend on nothing but (pool, seed). No rung gets any label beyond its set: there is no separate dev set, settings
that need one are fixed beforehand.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from foretext.baselines import names
from foretext.draws import generator, number
from foretext.errors import DataError
from foretext.tasks.base import Labelled


def label_set(pool: Labelled, per_class: int, seed: int) -> Labelled:
    """`per_class` texts of every class, in an order that mixes the classes. DataError where a class has fewer."""
    groups = {label: order[:per_class] for label, order in orders(pool, seed).items()}
    worst = min(groups, key=lambda label: len(groups[label]))
    if len(groups[worst]) < per_class:
        raise DataError(
            f"{per_class} labels a class were asked for, but {worst!r} has only {len(groups[worst])} training texts",
            file=pool.file or None,
            remedy="ask for fewer labels, or leave that class out",
        )
    chosen = [row for group in groups.values() for row in group]
    generator(seed, "label set order", per_class).shuffle(chosen)
    return pool.take(chosen)


def rows_of(pool: Labelled, per_class: int, seed: int) -> list[int]:
    """The pool's rows in a label set, ascending."""
    return sorted(row for order in orders(pool, seed).values() for row in order[:per_class])


def orders(pool: Labelled, seed: int) -> Mapping[str, Sequence[int]]:
    """Label → the rows of its texts in this seed's order; labels sorted."""
    labels = names(pool)
    by_label: dict[str, list[int]] = {label: [] for label in sorted(set(labels))}
    for row, label in enumerate(labels):
        by_label[label].append(row)
    for label, rows in by_label.items():
        generator(seed, "label set", number(0, label)).shuffle(rows)
    return by_label


def check_task(pool: Labelled, test: Labelled, most: int) -> None:
    """Refuse, before anything runs, a task that cannot be laddered: DataError with the rule that is broken.

    `most`: the largest label count a class."""
    for part in (pool, test):
        row = next((row for row, said in enumerate(part.labels) if len(said) != 1), None)
        if row is not None:
            raise part.error(row, f"the ladder needs one label a text, found {len(part.labels[row])}")
    counts = Counter(names(pool))
    if len(counts) < 2:
        raise DataError(f"expected two or more labels, found {sorted(counts)}", file=pool.file or None)
    unseen = sorted(set(names(test)) - set(counts))
    if unseen:
        raise DataError(f"the test texts have labels that no training text has: {', '.join(unseen)}", file=test.file or None)
    both = set(pool.texts) & set(test.texts)
    if both:
        row = next(row for row, text in enumerate(test.texts) if text in both)
        raise test.error(row, f"{len(both)} test texts are training texts too", "remove them from one of the two")
    label_set(pool, most, 0)
