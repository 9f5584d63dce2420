"""`neighbors`, `fill`, `score`: questions to a pretrained model."""

from itertools import islice

from foretext.bundle import load_pretrained
from foretext.cli import options
from foretext.cli.output import LongTexts, one_line, say, write_json
from foretext.evaluation.neighbors import neighbors as find_neighbors
from foretext.tasks.tables import read_texts
from foretext.text.corpus import open_corpus

CHUNK = 512
"""Texts held at a time."""


def neighbors(chosen: options.Neighbors) -> None:
    """Nearest words, or nearest occurrences layer by layer."""
    model = load_pretrained(chosen.pretrained)
    corpus = open_corpus(list(chosen.in_)) if chosen.in_ else None
    found = find_neighbors(
        model, chosen.query, corpus=corpus, n=chosen.n, same_word=chosen.same_word, kind=chosen.index
    )
    write_json(found.as_json()) if chosen.json else say(found.text())


def fill(chosen: options.Fill) -> None:
    """The likeliest pieces for each mask."""
    from foretext.evaluation.fill import fill as fill_masks  # torch, which static neighbours do not need

    model = load_pretrained(chosen.pretrained)
    found = fill_masks(model, chosen.text, n=chosen.n)
    long = LongTexts(model)
    long.add(found.tokens)
    long.tell()
    write_json(found.as_json()) if chosen.json else say(found.text())


def score(chosen: options.Score) -> None:
    """A line a text: log-probability (nats), tokens, the text."""
    from foretext.evaluation.score import score as score_texts

    model = load_pretrained(chosen.pretrained)
    texts, long = iter(read_texts(chosen.file)), LongTexts(model)
    while chunk := list(islice(texts, CHUNK)):
        for text, one in zip(chunk, score_texts(model, chunk), strict=True):
            long.add(len(one.tokens))
            if chosen.json:
                nats = [float(x) for x in one.nats]
                write_json({"sum": one.sum, "mean": one.mean, "tokens": list(one.tokens), "nats": nats, "text": text})
            else:
                say(f"{one.sum:.4f}\t{len(one.tokens)}\t{one_line(text)}")
    long.tell()
