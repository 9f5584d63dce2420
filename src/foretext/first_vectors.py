"""What an embedding matrix starts from: the family's own draw, skip-gram vectors of the same pieces, or a folder's.

The lower rung carries the upper one: any Pretrained folder, static or contextual, lends its input table to any
family. Pieces are matched by what they spell, never by their number.

V vocabulary of the run · K pieces that are given a vector · D width
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foretext import draws
from foretext.bundle import PRETRAINED, SOURCE, Pretrained, load_pretrained
from foretext.errors import UsageError
from foretext.folder import fingerprint, open_sealed
from foretext.models.catalog import family, require, resolve
from foretext.models.word2vec.config import Word2VecConfig
from foretext.recipe import FamilyConfig, Recipe
from foretext.text.store import TokenStore
from foretext.text.tokenizers.folding import Folding, align
from foretext.text.tokenizers.spelling import byte_values
from foretext.text.tokenizers.splitting import SPACE
from foretext.training.progress import Watch
from foretext.types import JSON, Bits, Floats, Ints, Stepper, Tokenizer

RANDOM, AUTO, FROM_SOURCE = "random", "auto", "source"
"""FROM_SOURCE: the model that a run goes on from has them; a recipe of this kind is refused without one."""
WORDS = (RANDOM, AUTO, FROM_SOURCE)
"""What names no folder and no file."""
_ADD_SOURCE = "add --from FOLDER; a new run may start anew with --init-embeddings random"
KEY = "key:"
"""In a settled recipe a folder stands as its content key, so that no path decides what a run is."""
AUTO_TOKENS = 8_000_000
"""AUTO reads about this many tokens: several epochs of a small text (at most `AUTO_EPOCHS`), a part of a large one."""
AUTO_EPOCHS = 8.0

Sign = Literal["special", "head", "tail"]
Spelled = tuple[Sign, str]
"""How a piece stands in a word, and its characters without the sign for that."""


@dataclass(frozen=True, kw_only=True)
class FirstVectors:
    """Vectors of some pieces of a run's vocabulary. `ids` [K] ascending; `rows` [K,D] float32, as their source has
    them; `report`: where from and how much they cover, for people and for the provenance."""

    ids: Ints
    rows: Floats
    report: Mapping[str, JSON]

    @cached_property
    def text(self) -> str:
        """The report in one line."""
        r = self.report
        said = f"first vectors: {r['pieces']:.0%} of pieces, {r['tokens']:.0%} of tokens from {r['name']} (key {r['from']})"
        return said + (f"; {r['pieces by parts']:.0%} of pieces are the mean of their parts" if r["pieces by parts"] else "")


# ── which ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def settled(recipe: Recipe, given: Pretrained | None = None) -> tuple[Recipe, Pretrained | None]:
    """The recipe with a folder's content key in place of its path, and that folder opened (or `given`).

    Errors: no such folder, another width, skip-gram vectors for skip-gram itself → UsageError; damage → ArtefactError.
    """
    name = recipe.init_embeddings
    if given is not None or name not in (RANDOM, FROM_SOURCE):
        require(recipe.family.name, "encode", "init_embeddings")
    if given is None:
        if name == AUTO and family(recipe.family.name).stepper is not None:
            raise UsageError(
                f"auto trains skip-gram vectors first; {recipe.family.name} learns its own from the start",
                place="init_embeddings",
                remedy="use random, or a pretrained folder",
            )
        if name in WORDS:
            return recipe, None
        given = load_pretrained(_folder(name))
    require(given.recipe.family.name, "encode", "init_embeddings")
    wanted, width = getattr(recipe.family, "width", None), given.vectors.shape[1]
    if wanted is not None and wanted != width:
        raise UsageError(
            f"the vectors are {width} numbers wide, the model's embeddings {wanted}",
            file=given.path,
            place="init_embeddings",
            remedy=f"set family.width = {width}, or give vectors of width {wanted}",
        )
    return replace(recipe, init_embeddings=KEY + _key(given)), given


def require_source(recipe: Recipe, source: Pretrained | None, vectors: Pretrained | None, remedy: str = _ADD_SOURCE) -> None:
    """UsageError where `recipe` goes on from a model, and none is given."""
    if recipe.init_embeddings == FROM_SOURCE and source is None and vectors is None:
        raise UsageError(
            f"{recipe.name} goes on from a pretrained model, and none is given",
            remedy=remedy,
        )


def identified(recipe: Recipe, given: Pretrained | None = None) -> Recipe:
    """The recipe as `settled` leaves it, the folder's manifest read alone (or `given`): what identifies a run before it is
    made."""
    name = recipe.init_embeddings
    if given is not None:
        return replace(recipe, init_embeddings=KEY + _key(given))
    if name in WORDS or name.startswith(KEY):
        return recipe
    return replace(recipe, init_embeddings=KEY + open_sealed(_folder(name), kind=PRETRAINED, verify=False).key)


def _folder(name: str) -> Path:
    if name.startswith(KEY):
        raise UsageError(
            f"this recipe starts from the vectors of a folder with the key {name.removeprefix(KEY)}",
            place="init_embeddings",
            remedy="name that folder: --init-embeddings FOLDER",
        )
    path = Path(name)
    if not path.is_dir():
        raise UsageError(
            "expected random, auto, a pretrained folder or a file of word vectors" + (", found a file" if path.is_file() else ""),
            file=name,
            place="init_embeddings",
            remedy="open a file first (interop.vectors.as_pretrained)" if path.is_file() else "check the spelling of the path",
        )
    return path


def _key(given: Pretrained) -> str:
    """The folder's content key; of a model that was never saved, a fingerprint of what is used of it."""
    return given.key or fingerprint(list(given.tokenizer.pieces), np.ascontiguousarray(given.vectors).tobytes())


# ── from a folder ───────────────────────────────────────────────────────────────────────────────────────────────────


def matched(given: Pretrained, store: TokenStore) -> FirstVectors:
    """The vectors that `given` has for the pieces of `store`'s tokenizer.

    A piece is found where the folder has one that stands in a word alike and spells the same under the run's own
    folding: "##ing" is found in "##ing" only, a lexicon's word is a piece that begins a word, special tokens are found
    by name; of several that fold alike, the one spelled exactly so, else the first. A word's beginning that the folder
    lacks gets the mean of the pieces as which the folder's tokenizer reads it, where all of these are learnt. Rows of
    zeros are no vectors (words that were never trained). All other pieces keep the family's own start.

    Errors: nothing found → UsageError.
    """
    tokenizer, vectors = store.tokenizer, given.vectors
    learnt = np.asarray(vectors.any(axis=1))
    wanted = list(spelled(tokenizer, tokenizer.pieces))
    found = _rows_of(wanted, given.tokenizer, learnt, _folding(tokenizer))
    rows = np.zeros((len(wanted), vectors.shape[1]), np.float32)
    rows[found >= 0] = vectors[found[found >= 0]]
    lacking = [i for i in np.flatnonzero(found < 0).tolist() if wanted[i][0] == "head"]
    parts = _means(given, [wanted[i][1] for i in lacking], learnt)
    by_parts = [i for i, row in zip(lacking, parts, strict=True) if row is not None]
    rows[by_parts] = np.array([row for row in parts if row is not None], np.float32).reshape(-1, rows.shape[1])
    has = found >= 0
    if not has.any() and not by_parts:
        raise UsageError(
            "the folder has a vector for none of the vocabulary's pieces", file=given.path, place="init_embeddings",
            remedy="give vectors of the corpus's language",
        )  # fmt: skip
    counts = np.asarray(store.counts, np.float64)
    report = {
        "from": _key(given),
        "name": given.path.name if given.path else given.recipe.name,
        "pieces": float(has.mean()),
        "tokens": float(counts[has].sum() / max(counts.sum(), 1.0)),
        "pieces by parts": len(by_parts) / len(wanted),
        "tokens by parts": float(counts[by_parts].sum() / max(counts.sum(), 1.0)),
    }
    has[by_parts] = True
    ids = np.flatnonzero(has)
    return FirstVectors(ids=ids, rows=rows[ids], report=report)


def spelled(tokenizer: Tokenizer, pieces: Sequence[str]) -> Iterable[Spelled]:
    """What each piece spells, its kind's signs taken off: WordPiece's "##", unigram's "▁", the bytes and "Ġ" of BPE.
    Words and characters begin a word."""
    kind = _config(tokenizer, "kind", "words")
    values = byte_values() if kind == "bpe" else {}
    for piece in pieces:
        if piece in tokenizer.special:
            yield "special", piece
        elif kind == "wordpiece" and piece.startswith("##") and len(piece) > 2:
            yield "tail", piece[2:]
        elif kind == "unigram":
            yield ("head", piece[1:]) if piece.startswith(SPACE) else ("tail", piece)
        elif kind == "bpe":
            text = bytes(values[letter] for letter in piece).decode("utf-8", "surrogateescape")
            yield ("head", text[1:]) if text.startswith(" ") else ("tail", text)
        else:
            yield "head", piece


def _rows_of(wanted: Sequence[Spelled], source: Tokenizer, learnt: Bits, folding: Folding) -> Ints:
    """The row of `source`'s table for each wanted piece [V], −1 where it has none."""
    ids = {key: i for i, key in enumerate(wanted)}
    rows = np.full(len(wanted), -1, np.int64)
    exactly = np.zeros(len(wanted), np.bool_)
    for row, (sign, text) in enumerate(spelled(source, source.pieces)):
        if not learnt[row]:
            continue
        folded = text if sign == "special" else align(text, folding)[0]
        i = ids.get((sign, folded))
        if i is not None and (rows[i] < 0 or (folded == text and not exactly[i])):
            rows[i], exactly[i] = row, folded == text
    return rows


def _means(given: Pretrained, texts: Sequence[str], learnt: Bits) -> list[Floats | None]:
    """For each text [D] the mean of the pieces as which the folder's tokenizer reads it; None where one is unknown. A
    family that makes vectors of letters is asked for the text as one word."""
    letters = given.spelled(texts)
    if letters is not None:
        return [row if row.any() else None for row in letters]
    tokenizer, vectors = given.tokenizer, given.vectors
    known = learnt.copy()
    known[[i for i in tokenizer.special.values() if i < len(known)]] = False
    space = " " if _config(tokenizer, "kind", "words") == "bpe" else ""
    ids, lengths, _ = tokenizer.ids([space + text for text in texts])
    parts = np.split(ids, np.cumsum(lengths)[:-1]) if len(texts) else []
    return [vectors[part].mean(axis=0) if len(part) and known[part].all() else None for part in parts]


def _folding(tokenizer: Tokenizer) -> Folding:
    return Folding(
        lowercase=bool(_config(tokenizer, "lowercase", False)), strip_accents=bool(_config(tokenizer, "strip_accents", False)),
        keep_invisible=True,
    )  # fmt: skip


def _config(tokenizer: Tokenizer, field: str, default: object) -> Any:
    return getattr(getattr(tokenizer, "config", None), field, default)


# ── from the same text ──────────────────────────────────────────────────────────────────────────────────────────────


def skipgram(store: TokenStore, width: int, seed: int, watch: Watch) -> FirstVectors:
    """Skip-gram vectors of the store's own tokens, trained for seconds by one thread: what they are depends on
    (store, width, seed) alone."""
    tokens = max(1, int(store.counts.sum()))
    epochs = min(AUTO_EPOCHS, max(1.0, AUTO_TOKENS / tokens))
    text = store if tokens <= AUTO_TOKENS else _part(store, AUTO_TOKENS / tokens, seed)
    watch.say(f"first vectors: skip-gram over {min(tokens, AUTO_TOKENS):,} of the same tokens, {epochs:.1f} epochs")
    make = resolve(family("word2vec").stepper or "")
    stepper: Stepper = make(Word2VecConfig(width=width, min_count=1), text, seed=seed, threads=1, epochs=epochs)
    for _ in range(stepper.total):
        stepper.step()
    table = np.asarray(stepper.state().arrays[f"encoders.{SOURCE}.table.weight"])
    ids = np.flatnonzero(table.any(axis=1))
    return FirstVectors(ids=ids, rows=table[ids], report={"from": AUTO})


def _part(store: TokenStore, share: float, seed: int) -> TokenStore:
    """The store with all documents but a `share` of them, drawn from the whole text, left out of training."""
    documents = np.asarray(store.documents)
    out = draws.generator(seed, "first vectors part").random(len(documents) - 1) >= share
    return replace(store, held_out=np.asarray(store.held_out) | np.repeat(out, np.diff(documents)))


# ── into the matrix ─────────────────────────────────────────────────────────────────────────────────────────────────


def table(first: FirstVectors, vocabulary: int, config: FamilyConfig, seed: int) -> Floats:
    """A matrix [vocabulary, D] with `first` in it, centred, and scaled to the deviation that the family starts its
    matrices from; all other rows are a normal draw of that deviation."""
    spread = float(getattr(config, "initial_sd", 0.02))
    made = draws.generator(seed, "first vectors").normal(0.0, spread, (vocabulary, first.rows.shape[1])).astype(np.float32)
    rows = first.rows - first.rows.mean(axis=0)
    made[first.ids] = rows * (spread / max(float(rows.std()), 1e-12))
    return made
