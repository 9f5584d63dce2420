"""Adapted: what stage two makes. A sealed folder that holds its sources whole and answers texts with labels.

On disk: `task.json`, `strategy.json`, `provenance.json`, `weights.safetensors` (`heads.classify.…`; further members of
an ensemble as `members.<i>.heads.…` and, where their encoder moved, `members.<i>.encoders.…`), and
`sources/<name>/…`, each a Pretrained as it stands after transfer (the first member's).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from foretext.bundle import ADAPTED, SOURCE, Pretrained, read_pretrained
from foretext.errors import ArtefactError, UsageError, few
from foretext.folder import fingerprint, open_sealed, read_arrays, read_json, sealing, write_arrays, write_json
from foretext.models.catalog import family
from foretext.strategies import Settled, dropout_of
from foretext.tasks.base import Prediction
from foretext.tasks.classify import ClassifyTask
from foretext.types import JSON, Arrays, Encoder, Floats

if TYPE_CHECKING:
    from foretext.data.render import Tally
    from foretext.heads.classify import ClassifyHead, ClassifyHeadConfig, Shape
    from foretext.prediction import Reader
    from foretext.training.model import Model

CHUNK = 2048
"""Texts held at a time while a stream is answered."""
MOST_TOKENS = 4096
"""Tokens of one forward pass."""


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A classifier: pretrained sources, a task with its labels, and one or more trained members whose probabilities
    are averaged. A member's arrays are its head and every encoder tensor in which it differs from `sources`."""

    sources: Mapping[str, Pretrained]
    task: ClassifyTask
    settled: Settled
    members: tuple[Arrays, ...]
    provenance: Mapping[str, JSON] = field(default_factory=dict)
    path: Path | None = None
    key: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels by name, in the order of the columns of probabilities."""
        return self.task.labels

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction a text."""
        if isinstance(texts, str):
            raise UsageError("expected a list of texts, found one string", remedy="write predict([text])")
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """Predictions in the order of `texts`, which may be endless: a bounded number is held at a time."""
        rest = iter(texts)
        while chunk := list(islice(rest, CHUNK)):
            yield from self.task.decode(self._chunk(chunk))

    def log_probabilities(self, texts: Sequence[str]) -> Floats:
        """[n,K]; for several labels a text, each label's own."""
        chunks = [self._chunk(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)]
        return np.concatenate(chunks) if chunks else np.zeros((0, len(self.labels)), np.float32)

    def _chunk(self, texts: Sequence[str]) -> Floats:
        from foretext.prediction import log_probabilities

        views = {name: reader.prepare(texts) for name, reader in self.readers.items()}
        for name, view in views.items():
            if view.tally is not None:
                self.tallies[name] = self.tallies[name] + view.tally if name in self.tallies else view.tally
        # in the arithmetic it was trained in
        bf16 = self.settled.config.precision == "bf16"
        each = [
            log_probabilities(model, views, most_tokens=MOST_TOKENS, device=self.device, bf16=bf16) for model in self.models
        ]
        if len(each) == 1:
            return each[0]
        mean: Floats = np.logaddexp.reduce(np.stack(each), axis=0) - np.log(len(each))
        return mean

    @property
    def device(self) -> str:
        """Where predictions are computed."""
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def tallies(self) -> "dict[str, Tally]":
        """What each source's limit did to all the texts answered so far."""
        return {}

    @cached_property
    def readers(self) -> "dict[str, Reader]":
        """How each source reads a text."""
        model = self.models[0]
        return {name: reader_of(source, self.task, model.encoder(name).limit) for name, source in self.sources.items()}

    @cached_property
    def models(self) -> "list[Model]":
        """Every member as a network, weights loaded, in evaluation mode."""
        from foretext.training.model import Model

        models = []
        for arrays in self.members:
            encoders: dict[str, Any] = {name: source.encoder() for name, source in self.sources.items()}
            head = make_head({n: shape_of(s, encoders[n]) for n, s in self.sources.items()}, self.task, self.settled)
            model = Model(encoders, {"classify": head})
            model.load(arrays, within="heads.")
            model.load({**model.arrays(), **arrays})
            models.append(model.eval())
        return models

    def lines(self) -> list[str]:
        """What it is and how it came about, for people."""
        told = self.provenance
        data, dev = told.get("data", {}), told.get("dev", {})
        host = "" if self.settled.config.host == "none" else f" with a host ({self.settled.config.host})"
        rows = [f"a classifier of {len(self.labels)} labels by {self.settled.config.how}{host}: {few(self.labels, 8)}"]
        if data:
            rows.append(f"{data['train']:,} training texts, {data['dev']:,} dev texts ({data['dev set']})")
        if dev.get("mean") is not None:
            around = f" ± {dev['sd']:.3f} over {dev['seeds']} seeds" if dev["sd"] is not None else ""
            failed = f", {dev['failed']} failed" if dev["failed"] else ""
            rows.append(f"dev {told['metric']} {dev['mean']:.3f}{around}{failed} (always one answer: {told['majority']:.3f})")
        for name, limit in told.get("limits", {}).items():
            rows.append(f"source {name}: {limit['texts over the limit']:,} texts over the limit, {limit['share cut']:.1%} of tokens cut")
        for name, shares in (told.get("mix") or {}).items():
            rows.append(f"layers of {name}, bottom to top: {' '.join(f'{share:.2f}' for share in shares)}")
        if "seconds" in told:
            rows.append(f"{told['seconds']:.1f} s")
        return rows

    # ── saving ──

    def save(self, path: Path, *, replace: bool = False) -> "Adapted":
        """Write the sealed folder `path`; the same classifier, now with its path and key."""
        key = fingerprint(*(s.key for s in self.sources.values()), self.task, self.settled, dict(self.provenance))
        meta = {
            "task": "classify",
            "labels": len(self.labels),
            "how": self.settled.config.how,
            "members": len(self.members),
            "sources": {name: source.recipe.name for name, source in self.sources.items()},
        }
        with sealing(Path(path), kind=ADAPTED, key=key, meta=meta, replace=replace) as draft:
            write_json(draft / "task.json", msgspec.to_builtins(self.task))
            write_json(draft / "strategy.json", msgspec.to_builtins(self.settled))
            write_json(draft / "provenance.json", dict(self.provenance))
            first, *others = self.members
            arrays = dict(first)
            for i, member in enumerate(others, start=1):
                arrays.update({f"members.{i}.{name}": array for name, array in member.items()})
            write_arrays(draft / "weights.safetensors", arrays)
            for name, source in self.sources.items():
                (draft / "sources" / name).mkdir(parents=True)
                source.write(draft / "sources" / name)
        return load_adapted(path)


def load_adapted(path: str | Path) -> Adapted:
    """Open an Adapted folder, every byte verified. Missing: exit 2. Damaged, or another kind: exit 4."""
    sealed = open_sealed(Path(path), kind=ADAPTED)
    folder = sealed.path
    try:
        task = msgspec.convert(read_json(folder / "task.json"), ClassifyTask)
        settled = msgspec.convert(read_json(folder / "strategy.json"), Settled)
    except (msgspec.ValidationError, UsageError, ValueError, OverflowError) as error:
        raise ArtefactError(f"not an adapted folder: {error}", file=folder) from error
    names = sorted(p.name for p in (folder / "sources").iterdir()) if (folder / "sources").is_dir() else []
    if not names:
        raise ArtefactError("the folder holds no source", file=folder)
    members: dict[int, dict[str, Any]] = {}
    for name, array in read_arrays(folder / "weights.safetensors").items():
        number, rest = (int(name.split(".")[1]), name.split(".", 2)[2]) if name.startswith("members.") else (0, name)
        members.setdefault(number, {})[rest] = array
    return Adapted(
        sources={name: read_pretrained(folder / "sources" / name) for name in names},
        task=task,
        settled=settled,
        members=tuple(members[number] for number in sorted(members)),
        provenance=read_json(folder / "provenance.json"),
        path=folder,
        key=sealed.key,
    )


def reader_of(source: Pretrained, task: ClassifyTask, limit: int | None) -> "Reader":
    """How a pretrained source reads this task's texts; `limit`: most tokens its encoder takes at once."""
    from foretext.prediction import Reader

    return Reader(
        tokenizer=source.tokenizers[SOURCE],
        template=source.recipe.family.template,
        limit=limit,
        fit=task.config.fit,
    )


def shape_of(source: Pretrained, encoder: Encoder) -> "Shape":
    """The widths a head will read."""
    from foretext.heads.classify import Shape

    has_summary = "summary" in family(source.recipe.family.name).can and source.recipe.family.template.summary != "none"
    return Shape(widths=tuple(encoder.widths), summary=encoder.widths[-1] if has_summary else None)


def head_config(task: ClassifyTask, settled: Settled) -> "ClassifyHeadConfig":
    """The head that a settled strategy asks for."""
    from foretext.heads.classify import ClassifyHeadConfig

    return ClassifyHeadConfig(
        pool=settled.pool,
        layers=settled.layers,
        dropout=dropout_of(settled.config),
        hidden=settled.config.hidden,
        normalize=settled.normalize,
        multi=task.multi,
        host=settled.config.host,
    )


def make_head(
    shapes: "Mapping[str, Shape]",
    task: ClassifyTask,
    settled: Settled,
    *,
    label_weights: tuple[float, ...] | None = None,
    seed: int = 0,
) -> "ClassifyHead":
    """A new head for these sources."""
    from foretext.heads.classify import ClassifyHead

    return ClassifyHead(shapes, len(task.labels), head_config(task, settled), label_weights, seed)


def moved(source: Pretrained, arrays: Arrays, name: str) -> Pretrained:
    """`source` with the encoder tensors that `arrays` lists under `encoders.<name>.`, its key changed with them."""
    prefix, stored = f"encoders.{name}.", f"encoders.{SOURCE}."
    mine = {stored + n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    if not mine:
        return source
    digest = fingerprint(source.key, *(mine[n].tobytes() for n in sorted(mine)))
    return replace(source, arrays={**source.arrays, **mine}, path=None, key=digest)
