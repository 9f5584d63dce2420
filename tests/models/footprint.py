"""What a run holds above its process after imports, measured in a process of its own: `python -m models.footprint`.

A synthetic text lies in the files of a token store, read through maps as a real one is.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SPARE = 64 << 20
"""Bytes that a run may hold beside its model and its text."""
_FEW = 3_000
"""Words of the text on which a process meets its kernels and imports first."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes: `spent` at most above the process after its imports; `model`, what is trained; `text`, the maps of what is
    read."""

    spent: int
    model: int
    text: int


def write(folder: Path, words: int, vocabulary: int) -> None:
    """A text of `words` words by Zipf's law, in sentences of 20 and documents of 400, each fiftieth held out."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    part = np.minimum(rng.zipf(1.2, 1_000_000), vocabulary - 2) + 1  # 0 is the unknown word, 1 the boundary
    with open(folder / "ids", "wb") as file:
        for number, start in enumerate(range(0, words, len(part))):
            part = part[rng.permutation(len(part))] if number else part
            file.write(part[: words - start].astype(np.int32).tobytes())
    sentences = -(-words // 20)
    np.minimum(np.arange(sentences + 1, dtype=np.int64) * 20, words).tofile(folder / "sentences")
    np.unique(np.append(np.arange(0, sentences, 20, dtype=np.int64), sentences)).tofile(folder / "documents")
    (np.arange(sentences) // 20 % 50 == 49).tofile(folder / "held_out")
    np.save(folder / "counts.npy", np.bincount(part, minlength=vocabulary) + 1)


def opened(folder: Path, *, spelt: bool = False) -> Any:
    """The token store of a text; `spelt`: with words for its ids."""
    from foretext.text.store import PackedBits, TokenStore

    maps = {"ids": np.int32, "sentences": np.int64, "documents": np.int64, "held_out": np.bool_}
    counts = np.load(folder / "counts.npy")
    letters = np.random.default_rng(1).integers(97, 123, (len(counts) if spelt else 0, 9), np.uint8)
    pieces = [bytes(row[: 3 + number % 7]).decode() for number, row in enumerate(letters)]
    tokenizer: Any = SimpleNamespace(special={"[UNK]": 0, "</s>": 1}, size=len(counts), pieces=pieces, counts=())
    return TokenStore(
        **{name: np.memmap(folder / name, kind, "r") for name, kind in maps.items()},
        word_starts=PackedBits(np.zeros(0, np.uint8), 0), counts=counts,
        tokenizer=tokenizer, key=f"{folder.name} {len(counts)}", path=folder / "store",
    )  # fmt: skip


def spent(kind: str, folder: Path, words: int, vocabulary: int, **changes: Any) -> Footprint:
    """Of a run of one epoch of `kind` (see `KINDS`), or of `steps`, on a text of so many words, looked at once at its end."""
    if not (folder / "ids").exists():
        write(folder / "few", _FEW, 50)
        write(folder, words, vocabulary)
    order = [sys.executable, "-m", "models.footprint", kind, str(folder), json.dumps(changes)]
    done = subprocess.run(order, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return Footprint(**json.loads(done.stdout))


# ── in the process ──────────────────────────────────────────────────────────────────────────────────────────────────


def _finish(made: Any) -> Any:
    while made.done < made.total:
        made.step()
    made.evaluate()
    return made


def _bytes(*arrays: Any) -> int:
    return sum(array.nbytes for array in arrays)


def _word2vec(store: Any, changes: dict[str, Any]) -> int:
    from foretext.models.word2vec.config import Word2VecConfig
    from foretext.models.word2vec.train import stepper

    made = _finish(stepper(Word2VecConfig(min_count=1, epochs=1.0, **changes), store, threads=2))
    return _bytes(made.inward, made.outward)


def _fasttext(store: Any, changes: dict[str, Any]) -> int:
    from foretext.models.word2vec.fasttext import stepper
    from foretext.models.word2vec.fasttext_config import FastTextConfig

    made = _finish(stepper(FastTextConfig(min_count=1, epochs=1.0, **changes), store, threads=2))
    spelt = made.spelt
    assert spelt.kept is not None
    return _bytes(made.inward, made.outward, made.grams, spelt.first, spelt.rows, spelt.kept)


def _counting(store: Any, changes: dict[str, Any]) -> int:
    """Co-occurrences; the "model" is the memory that the recipe allows for counting."""
    from foretext.disk import remove
    from foretext.models.glove.config import GloveConfig
    from foretext.models.glove.counts import Counting, folder_of, ranked_words

    config = GloveConfig(min_count=1, **changes)
    words = ranked_words(config, store, None, "")
    remove(folder_of(config, store, words))
    _finish(Counting(config, store, words, store.path.parent / "runs"))
    return int(config.memory * 1e6)


def _glove(store: Any, changes: dict[str, Any]) -> int:
    """The text is here the file of non-zeros, counted beforehand."""
    from foretext.models.glove.config import GloveConfig
    from foretext.models.glove.train import stepper

    made = _finish(stepper(GloveConfig(min_count=1, epochs=1.0, **changes), store, threads=2))
    found = made.found
    read = _bytes(found.places, found.counts, found.tiles, found.words, found.held_places, found.held_counts)
    return read + _bytes(made.words, made.contexts, made.word_biases, made.context_biases)


def _nnlm(store: Any, changes: dict[str, Any]) -> int:
    from foretext.models.nnlm import train
    from foretext.models.nnlm.config import NNLMConfig

    train._LOOK = 1_000  # memory does not depend on how many places are looked at, time does
    steps = changes.pop("steps")  # an epoch takes long
    made = _finish(train.stepper(NNLMConfig(**changes), store, steps=steps))
    network: Any = made.network
    return _bytes(network.table, network.weight, network.bias, network.output.matrix)


def _ngram(store: Any, changes: dict[str, Any], estimated: bool = True) -> int:
    """The memory that the recipe allows for counts, and the model where it is made."""
    from foretext.models.ngram.config import NgramConfig
    from foretext.models.ngram.train import stepper

    config = NgramConfig(**changes)
    made = stepper(config, store)
    while made.done < made.total:
        made.step()
    if not estimated:
        return config.memory << 20
    made.evaluate()
    return (config.memory << 20) + _bytes(*made.arrays().values())


KINDS: dict[str, Callable[[Any, dict[str, Any]], int]] = {
    "word2vec": _word2vec, "fasttext": _fasttext, "counting": _counting, "glove": _glove, "nnlm": _nnlm, "ngram": _ngram,
    "n-grams": lambda store, changes: _ngram(store, changes, False),
}  # fmt: skip


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def main(kind: str, folder: Path, changes: dict[str, Any]) -> Footprint:
    """Run `kind` on the few words first, then on the whole text from a new peak on."""
    run = KINDS[kind]
    blocks = {"block": 500} if "gram" in kind else {}  # several, so that they are merged
    run(opened(folder / "few", spelt=kind == "fasttext"), {**changes, **blocks})
    store = opened(folder, spelt=kind == "fasttext")
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    model = run(store, changes)
    peak = _status("VmHWM")
    assert "torch" not in sys.modules
    return Footprint(spent=peak - before, model=model, text=_bytes(store.ids, store.sentences, store.documents, store.held_out))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])).__dict__))


__all__ = ["SPARE", "Footprint", "spent"]
