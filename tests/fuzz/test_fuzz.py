"""Every parser, 300 inputs each, always the same ones: a result or one ForetextError; no traceback, no second lost.

`FORETEXT_FUZZ_INPUTS` sets another number. The long run (a million each, coverage-guided) is test_soak.py.
"""

import csv
import io
import json
import os
import signal
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as given_inputs
from hypothesis import strategies as st

from foretext.errors import ForetextError
from fuzz.finds import FINDS
from fuzz.targets import TARGETS, Target, check

INPUTS = int(os.environ.get("FORETEXT_FUZZ_INPUTS", "300"))
SECOND = 1.0
"""Processor seconds that one input may take; the clock on the wall would count a busy machine too."""


class Hang(BaseException):
    """An input took longer; a BaseException, so that no parser's `except Exception` turns it into an answer."""


@contextmanager
def watched(seconds: float = SECOND) -> Iterator[None]:
    """Raise Hang after so much processor time."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {seconds} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


# ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

Edit = tuple[str, int, bytes]


def edited(seed: bytes, edits: list[Edit]) -> bytes:
    """`seed` after some edits: a bit flipped, bytes put in, written over or cut out, a part doubled, the end cut off."""
    data = bytearray(seed)
    for kind, at, new in edits:
        at %= len(data) + 1
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << (len(new) % 8)
        elif kind == "insert":
            data[at:at] = new
        elif kind == "write":
            data[at : at + len(new)] = new
        elif kind == "delete":
            del data[at : at + 1 + 3 * len(new)]
        elif kind == "double":
            data[at:at] = data[max(0, at - 40) : at]
        elif kind == "cut":
            del data[at:]
    return bytes(data)


def mutations(target: Target) -> st.SearchStrategy[bytes]:
    """Valid inputs with up to five edits, pieces of the grammar among what is put in."""
    kinds = st.sampled_from(["flip", "insert", "write", "delete", "double", "cut"])
    new = st.binary(max_size=6)
    if target.words:
        new = new | st.sampled_from(target.words)
    edits = st.lists(st.tuples(kinds, st.integers(0, 4000), new), max_size=5)
    return st.builds(edited, st.sampled_from(list(target.seeds())), edits)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6
)


def json_rows() -> st.SearchStrategy[bytes]:
    """Lines of JSON with the fields that a reader looks for, of every type."""
    fields = st.dictionaries(st.sampled_from(["text", "label", "id", "labels", ""]), values, max_size=4)
    return st.lists(fields | values, max_size=5).map(lambda rows: "\n".join(json.dumps(row) for row in rows).encode())


def tables(delimiter: str) -> st.SearchStrategy[bytes]:
    """Tables of any cells, some rows ragged."""
    cell = st.text(max_size=8) | st.sampled_from(["text", "label", "id", "good", "bad", "1", "a sentence, of sorts."])

    def written(rows: list[list[str]]) -> bytes:
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, escapechar="\\").writerows(rows)
        return out.getvalue().encode("utf-8", "surrogatepass")

    return st.lists(st.lists(cell, max_size=4), max_size=6).map(written)


def tomls() -> st.SearchStrategy[bytes]:
    """TOML of known and unknown keys with values of every type, tables and arrays of tables."""
    known = ["rate", "layers", "width", "heads", "minutes", "seed", "kind", "betas", "share", "rates", "special", "fit", "labels", "how", "epochs"]
    key = st.sampled_from(known) | st.text(string.ascii_lowercase, min_size=1, max_size=6)
    plain = st.sampled_from(["1", "-1", "0.5", "1e-4", '"1e-4"', "nan", "inf", "true", '"no"', "[]", "[1, 2]", "{}", "{a = 1}", "1979-05-27", '"bpe"', "1e400", "9" * 30])
    table = st.sampled_from(["family", "optimizer", "schedule", "batch", "limits", "phases", "objectives.masked", "tokenizer", "windows", "strategy", "task"])
    line = st.builds("{} = {}".format, key, plain) | st.builds("[{}]".format, table) | st.builds("[[{}]]".format, table)
    return st.lists(line, max_size=8).map(lambda lines: "\n".join(lines).encode())


STRUCTURED: dict[str, Callable[[], st.SearchStrategy[bytes]]] = {
    "corpus a.txt": lambda: st.text(max_size=200).map(lambda s: s.encode("utf-8", "surrogatepass")),
    "corpus a.jsonl": json_rows,
    "labelled a.jsonl": json_rows,
    "corpus a.csv": lambda: tables(","),
    "labelled a.csv": lambda: tables(","),
    "corpus a.tsv": lambda: tables("\t"),
    "labelled a.tsv": lambda: tables("\t"),
    "toml recipe": tomls,
    "toml strategy": tomls,
    "toml grid": tomls,
    "cursor": lambda: values.map(lambda value: json.dumps(value).encode()),
    "plan": lambda: values.map(lambda value: json.dumps(value).encode()),
}


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Mutated valid inputs, inputs built from the grammar where there is a strategy, and noise."""
    built = STRUCTURED.get(target.name)
    noise = st.binary(max_size=120)
    return st.one_of(mutations(target), mutations(target), built() if built else mutations(target), noise)


# ── tests ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def accept(target: Target) -> None:
    """Read the target's valid inputs: what is loaded at the first use is loaded then, on no other input's account."""
    for seed in target.seeds():
        target.call(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_give_a_result_or_one_error(name: str) -> None:
    target = TARGETS[name]
    accept(target)

    @settings(max_examples=INPUTS, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given_inputs(data=inputs(target))
    def fuzz(data: bytes) -> None:
        with watched():
            check(target, data)

    fuzz()


@pytest.mark.parametrize(("name", "data"), FINDS, ids=[f"{name} {number}" for number, (name, _) in enumerate(FINDS)])
def test_what_was_found_once_stays_fixed(name: str, data: bytes) -> None:
    accept(TARGETS[name])
    # The hangs among them took minutes; the one that unpacks to megabytes takes 0.6 s, and twice that beside other work.
    with watched(5 * SECOND):
        check(TARGETS[name], data)


def test_the_harness_finds(tmp_path: Any) -> None:
    """A parser that fails, one that hangs, and one that says several lines are all told."""

    def broken(data: bytes) -> None:
        {}[data]

    def slow(data: bytes) -> None:
        until = time.process_time() + 5
        while time.process_time() < until:
            pass

    def panics(data: bytes) -> None:
        class PanicException(BaseException):
            pass

        raise PanicException

    for call, kind in ((broken, KeyError), (slow, Hang), (panics, BaseException)):
        with pytest.raises(kind):
            with watched():
                check(Target(name="t", call=call, seeds=list), b"x")
    with watched():
        check(Target(name="t", call=lambda data: (_ for _ in ()).throw(ForetextError("fine")), seeds=list), b"x")
