"""A BERT from another program's folder, and into one; each time the outputs of both sides are compared.

The comparison runs a few fixed sequences through `reference` (double precision, strangers' tensors by their own names)
and through our encoder, every layer and every head, and allows `TOLERANCE`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext import draws
from foretext.bundle import SOURCE, Pretrained, Provenance, machine
from foretext.errors import ArtefactError, UsageError
from foretext.folder import fingerprint, write_arrays, write_json
from foretext.interop import renaming, tensors, vocabulary
from foretext.interop.layouts import LAYOUTS, MASKED, NEXT, POOLER, TABLE, TEXT, Layout
from foretext.interop.reference import Answer, Reference, Settings
from foretext.interop.sandbox import limited
from foretext.models.bert.config import PAIRS, BertConfig
from foretext.objectives import MaskedConfig, NextSentenceConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers import ChunkTokenizer
from foretext.text.tokenizers.spelling import WordPiece, special_ids
from foretext.types import JSON, Arrays, Template

TOLERANCE = 2e-5
"""Largest difference allowed, as a share of the largest value of that layer (at least 1): fp32 beside doubles gives
about 4e-7 after six layers; one wrong name, order or transposition gives 0.01 and more, another GELU 1e-4."""
LENGTHS = (17, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A stranger's folder as read: names as they stand there."""

    folder: Path
    layout: Layout
    config: Mapping[str, JSON]
    tokenizer: JSON
    arrays: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The largest difference found, of `TOLERANCE`'s kind, and where; `what` was compared."""

    size: float
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.what}: largest difference {self.size:.1e} ({self.where}; {TOLERANCE:.0e} allowed)"


# ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def open_foreign(folder: Path, layout: str | None = None) -> Foreign:
    """Read a folder of another program; its metadata in a process of their own. Errors: no such folder → UsageError;
    unreadable, or of no known layout (or another than `layout`) → ArtefactError."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError("no such folder", file=folder)
    found = limited("foretext.interop.inspection:inspect", str(folder), about=str(folder))
    told = renaming.detect(found["tensors"], folder)
    if layout is not None and told.name != layout:
        raise ArtefactError(f"expected {LAYOUTS[layout].title}'s names, found {told.title}'s", file=folder)
    if found["config"] is None:
        raise ArtefactError("no config.json or bert_config.json there", file=folder)
    if found["tokenizer"] is None:
        raise ArtefactError("no tokenizer.json or vocab.txt there", file=folder, remedy="put the model's vocabulary beside its weights")
    arrays = tensors.read(folder, found["tensors"])
    config = {**found["config"], "": found["config_file"]}
    return Foreign(folder=folder, layout=told, config=config, tokenizer=found["tokenizer"], arrays=arrays)


def to_pretrained(foreign: Foreign) -> tuple[Pretrained, Difference]:
    """The model in memory (`path` None), outputs compared. Errors: what does not fit → ArtefactError with its name."""
    layout, folder = foreign.layout, foreign.folder
    there = renaming.canonical(layout, foreign.arrays)
    config = _family(foreign, there)
    table = foreign.arrays[there[layout.tensors[TABLE]]]
    sizes = {"D": config.width, "I": config.inner, "V": len(table), "P": config.positions, "S": config.segments}
    arrays = renaming.to_ours(layout, foreign.arrays, sizes, config.layers, folder)
    has = {part: any(name.startswith(part) for name in arrays) for part in (MASKED, NEXT, POOLER)}
    if has[NEXT] and not has[POOLER]:
        raise ArtefactError("a next-sentence head without its pooler", file=folder)
    config = replace(config, pooler="dense" if has[POOLER] else "none")
    pieces = vocabulary.rows(foreign.tokenizer["pieces"], len(table), folder)
    tokens = vocabulary.config_of(foreign.tokenizer, len(pieces))
    special = special_ids(tokens.special, pieces)
    spelling = WordPiece(pieces, frozenset(special.values()), special["[UNK]"], whole_unknown=True)
    objectives: dict[str, Any] = {"masked": MaskedConfig()} if has[MASKED] else {}
    if has[NEXT]:
        objectives["next_sentence"] = NextSentenceConfig()
    recipe = Recipe(
        name=f"bert-from-{layout.name}",
        family=config,
        tokenizer=tokens,
        objectives=objectives,
        cites={"family": f"imported from {layout.title}'s layout", "tokenizer": f"imported from {layout.title}'s layout"},
    )
    made = Pretrained(
        recipe=recipe,
        tokenizers={SOURCE: ChunkTokenizer(tokens, spelling)},
        arrays=arrays,
        provenance=Provenance(corpus=_key(arrays), recipe=recipe.key(), machine=machine()),
    )
    return made, compare(made, foreign)


def _key(arrays: Arrays) -> str:
    """What stands in for a corpus's key: nobody knows the corpus, but other weights are another model."""
    return fingerprint(*(part for name in sorted(arrays) for part in (name, np.ascontiguousarray(arrays[name]).tobytes())))


def _family(foreign: Foreign, there: Mapping[str, str]) -> BertConfig:
    """Sizes and choices from the settings; positions and segments from the tensors where the settings are silent."""
    layout, config = foreign.layout, foreign.config
    file = foreign.folder / str(config[""])
    for name, allowed in layout.fixed.items():
        if config.get(name) not in allowed:
            raise ArtefactError(f"only {allowed[-1]!r} is read, found {str(config[name])[:40]!r}", file=file, place=name)
    values: dict[str, Any] = {}
    for ours, theirs in layout.settings.items():
        if theirs in config:
            values[ours] = _value(ours, config[theirs], layout, file, theirs)
    table = layout.tensors
    for ours, tensor, blank in (("positions", "position", 0), ("segments", "segment", layout.blank_segments)):
        name = table[f"{TEXT}embeddings.{tensor}.weight"]
        if ours not in values and name in there:
            values[ours] = len(foreign.arrays[there[name]]) - blank
    for name in (table[TABLE], *(layout.settings[needed] for needed in ("layers", "width", "heads", "inner"))):
        if name not in there and name not in config:
            place = "missing" if name == table[TABLE] else f"{name} is not given"
            raise ArtefactError(f"{place}: {name}" if place == "missing" else place, file=foreign.folder if place == "missing" else file)
    values["attention_dropout"] = values.get("attention_dropout", values.get("dropout", 0.1))
    template = PAIRS if values.get("segments", 2) > 1 else Template(start="[CLS]", between="[SEP]", end="[SEP]", summary="start")
    try:
        return BertConfig(**values, template=template)
    except UsageError as error:
        raise ArtefactError(error.rule, file=file, place=error.place) from error


def _value(ours: str, value: JSON, layout: Layout, file: Path, theirs: str) -> Any:
    if ours == "activation":
        if value not in layout.activations:
            raise ArtefactError(f"an activation that is not known: {str(value)[:40]!r}", file=file, place=theirs)
        return layout.activations[value]
    kind = next(f.type for f in fields(BertConfig) if f.name == ours)
    whole = kind in (int, "int")
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good or not 0 <= value <= (1 << 24 if whole else 1):
        raise ArtefactError(f"expected {'a whole number' if whole else 'a number up to 1'}, found {str(value)[:40]!r}", file=file, place=theirs)
    return value


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_foreign(model: Pretrained, out: Path, layout: Layout) -> str:
    """Write `out` as `layout`, read it back, compare tensors (to the bit) and outputs; what was done, in a line.
    Errors: a model that the layout cannot hold → UsageError naming the field; `out` exists → UsageError."""
    family, tokenizer = model.recipe.family, model.tokenizer
    if not isinstance(family, BertConfig):
        raise UsageError(f"{layout.title}'s layout holds BERT; this is {family.name}", place="family.name")
    if family.norm != "post":
        raise UsageError(f"{layout.title} has LayerNorm after each part only", place="family.norm", remedy='train with norm = "post"')
    assert isinstance(tokenizer, ChunkTokenizer)
    note = "; ".join(filter(None, [vocabulary.differences(tokenizer.config), layout.note]))
    arrays = _with_segments(model.arrays, family)
    renaming.refuse(layout, arrays)
    settings = _settings(family, layout, arrays, tokenizer.size)
    if out.exists():
        raise UsageError("the output exists already", file=out, remedy="choose another, or remove it first")
    try:
        out.mkdir(parents=True)
        theirs = renaming.to_theirs(layout, arrays, family.layers)
        if layout.file.endswith(".npz"):
            tensors.write_npz(out / layout.file, theirs)
        else:
            write_arrays(out / layout.file, theirs, metadata={"format": "pt"})
        write_json(out / layout.config, settings)
        rules = layout.name == "hf"
        vocabulary.write(tokenizer.config, tokenizer.pieces, out, positions=family.positions, rules=rules)
        difference = _check_written(model, arrays, out, layout)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return f"{describe(model)}, written as {layout.title} and read back; {difference}" + (f". Note: {note}" if note else "")


def _check_written(model: Pretrained, arrays: Arrays, out: Path, layout: Layout) -> Difference:
    again = open_foreign(out, layout.name)
    read, _ = to_pretrained(again)
    lost = sorted(set(read.arrays) ^ set(arrays)) or [n for n in arrays if not np.array_equal(read.arrays[n], arrays[n])]
    if lost:
        raise ArtefactError("what was written does not read back as it was", file=out, place=f"tensor {lost[0]}")
    if list(read.tokenizer.pieces) != list(model.tokenizer.pieces):
        raise ArtefactError("the vocabulary does not read back as it was", file=out)
    return compare(model, again)


def _with_segments(arrays: Arrays, family: BertConfig) -> dict[str, NDArray[Any]]:
    """A model without segment vectors has one of zeros elsewhere: nothing is added either way."""
    made = dict(arrays)
    if not family.segments:
        made[f"{TEXT}embeddings.segment.weight"] = np.zeros((1, family.width), np.float32)
    return made


def _settings(family: BertConfig, layout: Layout, arrays: Arrays, vocabulary_size: int) -> dict[str, JSON]:
    made = dict(layout.constants)
    values = {f.name: getattr(family, f.name) for f in fields(family)} | {"segments": max(1, family.segments)}
    for ours, theirs in layout.settings.items():
        value = values[ours]
        if ours == "activation":
            value = next((t for t, o in layout.activations.items() if o == value), None)
            if value is None:
                raise UsageError(f"{layout.title} has no {family.activation}", place="family.activation")
        made[theirs] = value
    if "norm_epsilon" not in layout.settings and family.norm_epsilon != BertConfig().norm_epsilon:
        raise UsageError(f"{layout.title} has no setting for {family.norm_epsilon}", place="family.norm_epsilon")
    heads = (any(n.startswith(MASKED) for n in arrays), any(n.startswith(NEXT) for n in arrays))
    if layout.name == "uer":
        targets = [name for name, is_there in zip(("mlm", "sp"), heads, strict=True) if is_there]
        return {**made, "emb_size": family.width, "target": targets}
    made["vocab_size"] = vocabulary_size
    if layout.name == "hf":
        made["architectures"] = [ARCHITECTURES[heads]]
    return made


ARCHITECTURES = {
    (True, True): "BertForPreTraining",
    (True, False): "BertForMaskedLM",
    (False, True): "BertForNextSentencePrediction",
    (False, False): "BertModel",
}
"""(masked head, next-sentence head) → transformers' class."""


def describe(model: Pretrained) -> str:
    """Family, size, vocabulary and heads, e.g. "bert 6 × 384, 30,522 pieces, no heads"."""
    family: Any = model.recipe.family
    heads = " and ".join(model.recipe.objectives) or "no"
    return f"{family.name} {family.layers} × {family.width}, {model.tokenizer.size:,} pieces, {heads} heads"


# ── comparing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def compare(model: Pretrained, foreign: Foreign) -> Difference:
    """Our outputs beside the reference's on fixed sequences. Errors: over `TOLERANCE` → ArtefactError."""
    family: Any = model.recipe.family
    there = renaming.canonical(foreign.layout, foreign.arrays)
    settings = Settings(layers=family.layers, heads=family.heads, activation=family.activation, epsilon=family.norm_epsilon)

    def tensor(name: str) -> NDArray[Any] | None:
        return foreign.arrays[there[name]] if name in there else None

    reference = Reference(foreign.layout.name, tensor, settings)
    sequences = fixed_sequences(model.tokenizer.size, family.positions, family.segments)
    found = _ours(model, sequences)
    worst, where = 0.0, "nowhere"
    for number, (ids, segments) in enumerate(sequences):
        expected = _parts(reference(ids, segments), found[number])
        for name, wanted in expected.items():
            size = _apart(found[number][name], wanted)
            if not size <= worst:
                worst, where = size, name
    if not worst <= TOLERANCE:
        raise ArtefactError(f"the outputs differ by {worst:.1e} in {where}, {TOLERANCE:.0e} allowed", file=foreign.folder)
    heads = [name for name in found[0] if not name.startswith("layer")]
    return Difference(size=worst, where=where, what=f"{family.layers + 1} layers{''.join(f', {h}' for h in heads)} compared")


def fixed_sequences(vocabulary_size: int, positions: int, segments: int) -> list[tuple[list[int], list[int]]]:
    """Ids and segments of two sequences, always the same ones; the first has both segments where there are two."""
    made = []
    for number, length in enumerate(min(length, positions) for length in LENGTHS):
        ids = draws.generator(0, "conversion", number).integers(0, vocabulary_size, length).tolist()
        ids[0], ids[-1] = 0, vocabulary_size - 1
        made.append((ids, [int(number == 0 and segments > 1 and at > length // 2) for at in range(length)]))
    return made


def _ours(model: Pretrained, sequences: list[tuple[list[int], list[int]]]) -> list[dict[str, NDArray[Any]]]:
    """Each sequence's layers and heads by name, from one padded batch."""
    import torch

    from foretext.data.batches import view_to_torch
    from foretext.types import Batch, TokenBatch

    R, T = len(sequences), max(len(ids) for ids, _ in sequences)
    ids, segment, sequence = np.zeros((R, T), np.int64), np.zeros((R, T), np.int64), np.full((R, T), -1, np.int64)
    for row, (tokens, kinds) in enumerate(sequences):
        ids[row, : len(tokens)], segment[row, : len(tokens)], sequence[row, : len(tokens)] = tokens, kinds, row
    view = TokenBatch(
        ids=ids,
        sequence=sequence,
        position=np.where(sequence >= 0, np.arange(T), 0),
        bounds=np.array([[row, 0, len(tokens)] for row, (tokens, _) in enumerate(sequences)]),
        segment=segment,
        summary=np.arange(R) * T,
    )
    network = model.model
    with torch.inference_mode():
        vectors = network(Batch(views={SOURCE: view_to_torch(view)}))
        heads = {name: network.head(name).predict(vectors, None).double().numpy() for name in network.heads}
        mine = vectors[SOURCE]
        layers = [layer.double().numpy() for layer in mine.layers]
        pooled = None if mine.summary is None else mine.summary.double().numpy()
    answers = []
    for row, (tokens, _) in enumerate(sequences):
        answer = {f"layer {n}": layer[row, : len(tokens)] for n, layer in enumerate(layers)}
        if pooled is not None and getattr(model.recipe.family, "pooler", "") == "dense":
            answer["pooler"] = pooled[row]
        if "masked" in heads:
            answer["masked"] = heads["masked"][row * T : row * T + len(tokens)]
        if "next_sentence" in heads:
            answer["next sentence"] = heads["next_sentence"][row]
        answers.append(answer)
    return answers


def _parts(answer: Answer, ours: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The reference's answer under the names of ours, which must have the same parts."""
    named: dict[str, NDArray[Any] | None] = {f"layer {n}": layer for n, layer in enumerate(answer.layers)}
    named |= {"pooler": answer.summary, "masked": answer.masked, "next sentence": answer.next_sentence}
    made = {name: value for name, value in named.items() if value is not None}
    assert set(made) == set(ours), f"{sorted(made)} beside {sorted(ours)}"
    return made


def _apart(ours: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(np.abs(ours - wanted).max() / max(1.0, np.abs(wanted).max()))

