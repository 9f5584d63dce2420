"""`neighbors`, `fill`, `score`, `perplexity`: questions to a pretrained model."""

from itertools import islice

from foretext.bundle import load_pretrained
from foretext.cli import options
from foretext.cli.output import LongTexts, one_line, say, write_json
from foretext.cli.train import reading_of
from foretext.errors import UsageError
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


def perplexity(chosen: options.Perplexity) -> None:
    """Perplexity of one model, or of two and of their mixture."""
    from foretext.evaluation.language import perplexity as measure

    *folders, text = chosen.arguments or ("",)
    if len(folders) not in (1, 2):
        raise UsageError(
            f"expected MODEL [MODEL] TEXT, found {' '.join(chosen.arguments) or 'nothing'}",
            remedy="for example: foretext perplexity ngram nnlm test.txt --dev dev.txt",
        )
    models, reading = [load_pretrained(folder) for folder in folders], reading_of(chosen.reading)
    dev = open_corpus([chosen.dev], reading) if chosen.dev is not None else None
    found = measure(models, open_corpus([text], reading), dev=dev, names=folders)
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
                told = {"sum": one.sum, "mean": one.mean, "tokens": list(one.tokens), "nats": nats, "text": text}
                write_json(told if one.end is None else {**told, "end": one.end})
            else:
                say(f"{one.sum:.4f}\t{len(one.tokens)}\t{one_line(text)}")
    long.tell()
