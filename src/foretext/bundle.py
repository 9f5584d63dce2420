"""What the two stages make: Pretrained and Adapted, self-contained sealed folders with one format on disk.

A Pretrained folder: `recipe.json`, `provenance.json`, `tokenizers/<source>/…`, `weights.safetensors` (fp32, names
`encoders.<source>.…` and `heads.<objective>.…`, tied tensors once), `training.jsonl` (the curve). An Adapted folder
holds its Pretrained sources whole under `sources/<name>/`, as they stand after transfer.
"""

import contextlib
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from foretext.errors import ArtefactError
from foretext.folder import is_sealed, open_sealed, read_arrays, read_json, sealing, write_arrays, write_json
from foretext.models.catalog import family, require, resolve
from foretext.recipe import Recipe, from_json, to_json
from foretext.text.tokenizers import load_tokenizer
from foretext.types import JSON, Arrays, Encoder, Text, Tokenizer

if TYPE_CHECKING:
    from foretext.inference import Encoded
    from foretext.training.model import Model

PRETRAINED = "pretrained"
ADAPTED = "adapted"
SOURCE = "text"
"""The name of stage one's only source in batches and on disk."""
STATIC_TABLE = f"encoders.{SOURCE}.table.weight"
"""The vectors [V, D] of a static family, on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a folder came from: content keys, cost, machine, and what the run reached."""

    corpus: str = ""
    """Key of the corpus."""
    recipe: str = ""
    """Key of the recipe."""
    source: str = ""
    """Key of the folder that training continued from."""
    init: Mapping[str, JSON] = field(default_factory=dict)
    """What the embedding matrix started from ("from": "random", "auto" or a folder's key), and how much of the
    vocabulary and of the text that covers (shares)."""
    steps: int = 0
    epochs: float = 0.0
    tokens: int = 0
    """Tokens of the store's training part."""
    seconds: float = 0.0
    """Wall time of the training run, all resumptions together."""
    machine: Mapping[str, JSON] = field(default_factory=dict)
    results: Mapping[str, float] = field(default_factory=dict)
    """Measures on the held-out set at the end, and "unigram entropy" (nats), the line to beat."""


def machine() -> dict[str, JSON]:
    """What a figure depends on: processor, its wide arithmetic, cores, versions."""
    import os
    from importlib.metadata import PackageNotFoundError, version

    name = platform.processor()
    flags: set[str] = set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            name = value.strip() if key.strip() == "model name" else name
            flags = set(value.split()) if key.strip() == "flags" else flags
    wide = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    versions = {}
    for package in ("foretext", "torch", "numpy", "numba", "tokenizers"):
        with contextlib.suppress(PackageNotFoundError):  # run from a source tree
            versions[package] = version(package)
    return {"processor": name, "arithmetic": wide, "cores": os.cpu_count() or 1, "python": platform.python_version(), **versions}


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pretrained model: recipe, tokenizers and weights by name (fp32 numpy), and where they came from."""

    recipe: Recipe
    tokenizers: Mapping[str, Tokenizer]
    arrays: Arrays
    provenance: Provenance = field(default_factory=Provenance)
    path: Path | None = None
    key: str = ""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the one source of stage one."""
        return self.tokenizers[SOURCE]

    @cached_property
    def model(self) -> "Model":
        """The network with its pretraining heads, weights loaded, in evaluation mode, on the CPU."""
        from foretext.layers.initial import to_be_loaded

        with to_be_loaded():
            model = build_model(self.recipe, self.tokenizer.size, tokenizer=self.tokenizer)
        mine = self.arrays if self.recipe.objectives else {n: a for n, a in self.arrays.items() if n.startswith("encoders.")}
        model.load(mine)
        return model.eval()

    def encoder(self) -> Encoder:
        """A fresh copy of the encoder with these weights, for training."""
        from foretext.layers.initial import to_be_loaded

        with to_be_loaded():
            model = build_model(self.recipe, self.tokenizer.size, heads=False, tokenizer=self.tokenizer)
        model.load({n: a for n, a in self.arrays.items() if n.startswith("encoders.")})
        return model.encoder(SOURCE)

    def encode(self, texts: Sequence[str | Text], *, batch_tokens: int = 8192) -> "list[Encoded]":
        """Vectors of every token of every text, all layers (0 = embeddings); one `Encoded` a text. Long texts are read
        in overlapping windows, each token taken from the window in which it has most context on its poorer side."""
        from foretext.inference import encode

        require(self.recipe.family.name, "encode", "encode")
        return encode(self.model, self.tokenizer, self.recipe.family.template, texts, batch_tokens=batch_tokens)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """A vector for each entry of the vocabulary [V, D]: the input embedding matrix, or what the family makes of
        letters. For static families torch is not imported."""
        spelled = self.spelled(None)
        if spelled is not None:
            return spelled
        if STATIC_TABLE in self.arrays:
            return np.asarray(self.arrays[STATIC_TABLE])
        table: NDArray[np.float32] = self.model.encoder(SOURCE).table.weight.detach().numpy()
        return table

    def spelled(self, words: Sequence[str] | None) -> NDArray[np.float32] | None:
        """Vectors [n, D] of `words` of any spelling, each as one word (None: of the vocabulary), zeros where nothing of it
        is known; None for a family that does not read letters. Torch is not imported."""
        if self._spelt is None:
            return None
        if words is not None:
            read = self.tokenizer.encode([Text(string=word, words=((0, len(word)),) if word else ()) for word in words])
            words = ["".join(e.forms[i] if i in e.forms else self.tokenizer.pieces[i] for i in e.ids.tolist()) for e in read]
        made: NDArray[np.float32] = self._spelt.vectors(words)
        return made

    @cached_property
    def _spelt(self) -> Any:
        how = family(self.recipe.family.name).spelling
        return None if how is None else resolve(how)(self.recipe.family, self.arrays, self.tokenizer)

    def save(self, path: Path, *, curve: Path | None = None, replace: bool = False) -> "Pretrained":
        """Write the sealed folder `path`; the same model, now with its path and key."""
        with sealing(path, kind=PRETRAINED, key=self.content_key(), meta=self._meta(), replace=replace) as draft:
            self.write(draft)
            if curve is not None and curve.exists():
                shutil.copyfile(curve, draft / "training.jsonl")
        return load_pretrained(path)

    def write(self, folder: Path) -> None:
        """Write the files of a Pretrained into `folder` (unsealed: the caller seals it)."""
        write_json(folder / "recipe.json", to_json(self.recipe))
        write_json(folder / "provenance.json", msgspec.to_builtins(self.provenance))
        write_arrays(folder / "weights.safetensors", self.arrays)
        for name, tokenizer in self.tokenizers.items():
            (folder / "tokenizers" / name).mkdir(parents=True)
            tokenizer.save(folder / "tokenizers" / name)

    def content_key(self) -> str:
        """The key of the folder that `save` writes: of what decides the content, not of the numbers themselves."""
        from foretext.folder import fingerprint

        came = self.provenance
        vocabularies = [tokenizer.key for tokenizer in self.tokenizers.values()]
        return fingerprint(self.recipe.key(), came.corpus, came.source, came.steps, *vocabularies)

    def _meta(self) -> JSON:
        return {
            "recipe": self.recipe.name,
            "family": self.recipe.family.name,
            "parameters": int(sum(a.size for a in self.arrays.values())),
            "vocabulary": self.tokenizer.size,
        }


def build_model(recipe: Recipe, vocabulary: int, *, heads: bool = True, tokenizer: Tokenizer | None = None) -> "Model":
    """A freshly initialised Model of `recipe` (`recipe.seed` decides the values). `tokenizer`: of that vocabulary; a
    family that makes vectors of letters needs it."""
    from foretext.training.model import Model

    require(recipe.family.name, "encode", "a network")
    room = family(recipe.family.name)
    given = {} if room.spelling is None else {"tokenizer": tokenizer}
    encoder = resolve(room.encoder or "")(recipe.family, vocabulary, seed=recipe.seed, **given)
    made: dict[str, Any] = {}
    if heads:
        make = {name: (resolve(objective.head), objective) for name, objective in recipe.objectives.items()}
        made = {name: head(encoder, config, seed=recipe.seed) for name, (head, config) in make.items()}
    return Model({SOURCE: encoder}, made, {name: recipe.objectives[name].weight for name in made})


def read_pretrained(folder: Path, *, path: Path | None = None, key: str = "") -> Pretrained:
    """Read the files that `Pretrained.write` wrote."""
    recipe = from_json(read_json(folder / "recipe.json"), file=str(folder / "recipe.json"))
    try:
        provenance = msgspec.convert(read_json(folder / "provenance.json"), Provenance)
    except msgspec.ValidationError as error:
        raise ArtefactError(str(error), file=folder / "provenance.json") from error
    names = sorted(p.name for p in (folder / "tokenizers").iterdir()) if (folder / "tokenizers").is_dir() else []
    if not names:
        raise ArtefactError("the folder holds no tokenizer", file=folder)
    tokenizers = {name: load_tokenizer(folder / "tokenizers" / name) for name in names}
    arrays = read_arrays(folder / "weights.safetensors")
    return Pretrained(recipe=recipe, tokenizers=tokenizers, arrays=arrays, provenance=provenance, path=path, key=key)


def load_pretrained(path: str | Path) -> Pretrained:
    """Open a Pretrained folder, every byte verified. Missing: exit 2. Damaged, or another kind: exit 4."""
    folder = Path(path)
    if not is_sealed(folder) and any((folder / name).is_file() for name in ("config.json", "bert_config.json")):
        raise ArtefactError(
            "not a foretext folder, but another program's", file=folder, remedy=f"foretext convert {folder} OUT --to foretext reads it"
        )
    sealed = open_sealed(Path(path), kind=PRETRAINED)
    return read_pretrained(sealed.path, path=sealed.path, key=sealed.key)
