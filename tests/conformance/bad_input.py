"""Check 13: what users give by mistake, a family and a task at a time (files, codes and commands have tests of their own)."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from conformance.layout import SOURCE
from conformance.rows import Row, TaskRow, scratch, spoken
from conformance.saving import fresh
from conformance.texts import RINGS, documents, labelled
from foretext.data.batches import pack, to_torch, view_to_torch
from foretext.data.render import Example, Fit, render
from foretext.errors import DataError, ForetextError, UsageError
from foretext.models.catalog import family
from foretext.tasks.base import read_labelled
from foretext.tasks.classify import ClassifyConfig
from foretext.text.corpus import open_corpus
from foretext.text.store import build_store
from foretext.types import Batch, Text

WORDS = RINGS["sea"]


def refused(call: Any, error: type[ForetextError], *parts: str) -> None:
    """`call` fails with `error`, whose one line holds every part."""
    told = None
    try:
        call()
    except error as found:
        told = found.message
    assert told is not None, f"accepted, expected {error.__name__}"
    assert "\n" not in told
    for part in parts:
        assert part in told, f"{part!r} is not told: {told}"


def bad_input(row: Row | TaskRow) -> None:
    """Rows 17, 18, 20, 21, 22 and 23 of the fault table, as far as they concern a family or a task."""
    _no_targets(row)
    if isinstance(row, Row):
        _marks(row)
        _nothing(row)
        _lengths(row)
    else:
        _task_texts(row)
        _task_lengths(row)
        _task_labels(row)


def _no_targets(row: Row | TaskRow) -> None:
    """A batch in which nothing is asked: loss and gradient are 0, not NaN, and an update leaves numbers."""
    stepper = row.stepper(2)
    if isinstance(row, Row) and row.own:
        row.own.nothing(stepper)
        report = stepper.step()
        assert (report.loss, report.count) == (0.0, 0)
        return
    micros = stepper._batches.step(0)
    empty = [Batch(views=b.views, targets={n: _none(t) for n, t in b.targets.items()}) for b in micros]
    loss, _ = stepper.model.loss(to_torch(empty[0]))
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in stepper.model.parameters())
    stepper._updater.clear()

    class Source:
        def step(self, step: int) -> list[Batch]:
            return empty

    stepper._batches = Source()
    report = stepper.step()
    assert (report.loss, report.count) == (0.0, 0)
    assert all(bool(p.isfinite().all()) for p in stepper.model.parameters())
    stepper._held_out = empty
    assert stepper.evaluate() == {}


def _none(target: Any) -> Any:
    return replace(target, at=target.at[:0], gold=target.gold[:0], count=0, weight=None)


def _marks(row: Row) -> None:
    """NUL, a byte order mark, CR LF, CR and Unicode's line separators: the tokens of the clean copy."""
    text = "\n\n".join(documents()[:4]) + "\n"
    variants = {
        "clean": text,
        "NUL": text.replace(" ", "\x00 ", 5),
        "BOM": "\ufeff" + text,
        "CR LF": text.replace("\n", "\r\n"),
        "CR": text.replace("\n", "\r"),
        "U+2028": text.replace(".\n", ".\u2028"),
    }
    tokenizer, ids = row.store().tokenizer, {}
    for name, variant in variants.items():
        file = fresh().with_suffix(".txt")
        file.write_bytes(variant.encode())
        store = build_store(open_corpus([file]), tokenizer, scratch() / "marks", held_out=0.0, workers=0)
        ids[name] = np.array(store.ids).tolist()
    for name, found in ids.items():
        assert found == ids["clean"], f"{name}: other tokens than the clean copy's"
    assert len(ids["clean"]) > 100


def _nothing(row: Row) -> None:
    """A corpus without a token is refused; a text without one has no vectors, and its neighbours theirs."""
    tokenizer = row.store().tokenizer
    for text in ("", " \n \t\n", "\ufeff"):
        file = fresh().with_suffix(".txt")
        file.write_bytes(text.encode())
        refused(lambda file=file: build_store(open_corpus([file]), tokenizer, fresh(), workers=0), DataError)
    made = row.pretrained()
    texts = ["", "ship cargo", "  \n", "\x00", "ship cargo"]
    assert [len(one) == 0 for one in spoken(made, texts)] == [True, False, True, True, False]
    if "encode" not in family(row.family).can:
        return
    found = made.encode(["", "ship cargo", "  \n", "\x00", "ship cargo"])
    assert [len(one.tokens) == 0 for one in found] == [True, False, True, True, False]
    for one in found:
        assert all(layer.shape == (len(one.tokens), layer.shape[1]) for layer in one.layers)
        assert all(np.isfinite(layer).all() for layer in one.layers)
    assert np.abs(found[1].layers[-1] - found[4].layers[-1]).max() <= 1e-5


def _of_length(tokenizer: Any, tokens: int) -> str:
    """A text of exactly so many tokens."""
    words = [word for word in (*WORDS, *RINGS["law"]) if len(tokenizer.encode([Text(string=word)])[0].ids) == 1]
    assert words, "no word is one token"
    return " ".join(words[i % len(words)] for i in range(tokens))


def _lengths(row: Row) -> None:
    """As many tokens as fit, one more, ten times as many: every token has its own vector; beyond the positions a batch
    is refused in words."""
    made = row.pretrained()
    if "encode" not in family(row.family).can:
        (nats,) = spoken(made, [_of_length(made.tokenizer, 400)])
        assert len(nats) == 400 and np.isfinite(nats).all()
        return
    encoder, template = made.model.encoder(SOURCE), row.recipe.family.template
    limit = encoder.limit or 40
    room = limit - bool(template.start) - bool(template.end)
    for tokens in (room, room + 1, 10 * room):
        text = _of_length(made.tokenizer, tokens)
        (found,) = made.encode([text])
        assert len(found.tokens) == tokens
        assert all(np.abs(layer).max(axis=1).min() > 0 for layer in found.layers), "a token has no vector"
        assert np.isfinite(found.layers[-1]).all()
    if encoder.limit is not None:
        example = Example(options=(((Text(string=_of_length(made.tokenizer, room + 1)),),),))
        view = view_to_torch(pack(render(example, made.tokenizer, template)))
        with torch.no_grad():
            refused(lambda: encoder(view), UsageError, str(limit + 1), str(limit))


# ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _task_texts(row: TaskRow) -> None:
    """Texts of nothing, and of marks: answered, with probabilities, and not by their neighbours' words."""
    made = row.adapted()
    texts = ["", "   ", "\x00", "\ufeff", "ship cargo", "ship cargo\r\n", "\ufeffship cargo", "ship\x00 cargo", "zzz 海 🙂"]
    found = made.log_probabilities(texts)
    assert np.isfinite(found).all()
    if not row.multi:
        assert np.abs(np.exp(found).sum(1) - 1.0).max() <= 1e-6
    for number in (1, 2, 3):
        assert np.abs(found[number] - found[0]).max() <= 1e-6, f"{texts[number]!r} is not read as nothing"
    for number in (5, 6, 7):
        assert np.abs(found[number] - found[4]).max() <= 1e-6, f"{texts[number]!r} is read otherwise than {texts[4]!r}"
    assert made.predict([]) == [] and made.log_probabilities([]).shape == (0, 2)


def _task_lengths(row: TaskRow) -> None:
    """A text as long as fits, one token more, ten times as long: windowed whole, cut and counted, or refused by line."""
    bench = row.bench()
    source = bench.sources[SOURCE]
    limit = source.encoder().limit
    template = source.recipe.family.template
    room = (limit or 40) - bool(template.start) - bool(template.end)
    texts = [_of_length(source.tokenizer, tokens) for tokens in (room, room + 1, 10 * room)]
    made = row.adapted()
    reader = made.readers[SOURCE]
    assert np.isfinite(made.log_probabilities(texts)).all()
    tally = reader.prepare(texts).tally
    assert (tally.tokens, tally.cut, tally.examples) == (12 * room + 1, 0, 3)
    assert (tally.long, tally.beyond > 0) == ((2, True) if limit else (0, False))
    cut = replace(reader, fit=Fit(policy="cut"))
    assert cut.prepare(texts).tally.cut == (1 + 9 * room if limit else 0), "what is cut is not counted"
    refuse = replace(reader, fit=Fit(policy="refuse"))
    if limit:
        refused(lambda: refuse.prepare(texts), DataError, "line 2", str(room + 1), str(room))
    assert refuse.prepare(texts[:1]).tally.long == 0


def _task_labels(row: TaskRow) -> None:
    """An empty text, the same id twice, a label that training never saw, a single label: refused, and where."""
    texts = labelled(24, 1, multi=row.multi)
    lines = [(f"t{i}", text, "|".join(said) if row.multi else said) for i, (text, said) in enumerate(texts)]

    def file(rows: Any) -> Any:
        path = fresh().with_suffix(".tsv")
        path.write_text("id\ttext\tlabel\n" + "".join("\t".join(one) + "\n" for one in rows))
        return path

    assert len(read_labelled(file(lines))) == 24
    refused(lambda: read_labelled(file([*lines, (lines[4][0], "wave", "sea")])), DataError, "line 26", "line 6", "t4")
    refused(lambda: read_labelled(file([*lines[:3], ("x", " ", "sea")])), DataError, "line 5", "empty")
    refused(lambda: read_labelled(file([*lines[:3], ("x", "wave", " ")])), DataError, "line 5", "label")
    task = row.bench().task
    strange = [*texts[:3], ("wave", ["air"] if row.multi else "air")]
    refused(lambda: task.gold(task.read(strange)), DataError, "line 4", "'air'")
    if not row.multi:
        alike = [(text, "sea") for text, _ in texts]
        refused(lambda: row.bench(texts=alike, config=ClassifyConfig()), DataError, "at least two")
