"""`analogy`, `similarity`, `evaluate-vectors`: questions to word vectors, and what they are worth."""

from foretext.bundle import load_pretrained
from foretext.cli import options
from foretext.cli.output import say, table, write_json


def analogy(chosen: options.Analogy) -> None:
    """The best fourth words."""
    from foretext.evaluation.analogy import analogy

    found = analogy(
        load_pretrained(chosen.pretrained), chosen.a, chosen.b, chosen.c, method=chosen.method, n=chosen.n, most=chosen.most
    )
    write_json(found.as_json()) if chosen.json else say(found.text())


def similarity(chosen: options.Similarity) -> None:
    """Cosines of words with one another."""
    from foretext.evaluation.similarity import similarity

    found = similarity(load_pretrained(chosen.pretrained), chosen.words)
    write_json(found.as_json()) if chosen.json else say(found.text())


def evaluate_vectors(chosen: options.EvaluateVectors) -> None:
    """A line a set and section: score, interval, coverage."""
    from foretext.evaluation.intrinsic import HEAD, evaluate_vectors

    found = evaluate_vectors(
        load_pretrained(chosen.pretrained), chosen.sets, method=chosen.method, most=chosen.most, seed=chosen.seed
    )
    if chosen.json:
        write_json(found.as_json())
        return
    table(HEAD, found.rows())
    say()
    for remark in found.remarks():
        say(remark)
