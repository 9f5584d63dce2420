"""One word for every layout: what SRC is told by what is in it, what DST shall be by its name."""

from pathlib import Path

from foretext.bundle import Pretrained, load_pretrained
from foretext.errors import ArtefactError, UsageError, no_file, unknown
from foretext.folder import is_sealed
from foretext.interop.bert import compare, describe, open_foreign, to_pretrained, write_foreign
from foretext.interop.layouts import LAYOUTS
from foretext.interop.vectors import LAYOUTS as VECTORS
from foretext.interop.vectors import as_pretrained, from_vectors, is_vectors, to_vectors

FORMATS = ("foretext", *LAYOUTS, *VECTORS)


def convert(source: Path, out: Path, to: str) -> str:
    """Write `source` as `to`, one of FORMATS, to the new path `out`; what was done and compared, in a line.

    Errors: an unknown layout, an absent source, an existing `out`, a model that the layout cannot hold → UsageError;
    a source that cannot be trusted or does not fit → ArtefactError.
    """
    source, out = Path(source), Path(out)
    if to not in FORMATS:
        raise unknown("layout", to, FORMATS)
    if out.exists():
        raise UsageError("the output exists already", file=out, remedy="choose another, or remove it first")
    if not source.exists():
        raise no_file(source)
    if to == "foretext":
        return _to_foretext(source, out)
    model = open_any(source)
    if to in LAYOUTS:
        return f"{out}: {write_foreign(model, out, LAYOUTS[to])}"
    return to_vectors(model, out, to)


def open_any(source: Path) -> Pretrained:
    """A model of any layout, in memory: a sealed folder, another program's folder, or vectors of words."""
    if is_sealed(source):
        return load_pretrained(source)
    return as_pretrained(source) if is_vectors(source) else to_pretrained(open_foreign(source))[0]


def _to_foretext(source: Path, out: Path) -> str:
    if is_sealed(source):
        raise UsageError("this is a foretext folder already", file=source)
    if is_vectors(source):
        return from_vectors(source, out)
    foreign = open_foreign(source)
    model, _ = to_pretrained(foreign)
    made = model.save(out)
    if list(made.tokenizer.pieces) != list(model.tokenizer.pieces) or made.tokenizer.key != model.tokenizer.key:
        raise ArtefactError("the vocabulary does not read back as it was", file=out)
    case = "lower-cased" if made.recipe.tokenizer.lowercase else "cased"
    line = f"{out}: {describe(made)}, {case}, from {foreign.layout.title}'s names; {compare(made, foreign)}"
    return f"{line}. Note: {foreign.layout.note}" if foreign.layout.note else line
