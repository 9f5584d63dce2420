"""One bit or one cut, in any byte of anything that we keep: never believed. Artefacts are refused, caches made anew;
and what is whole but of another run, or made by two at once, is told apart too."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretext.adapted import load_adapted
from foretext.bundle import load_pretrained
from foretext.errors import ArtefactError, DataError, Preempted, UsageError
from foretext.features import cached_encode
from foretext.folder import open_sealed, read_arrays, read_record, write_record
from foretext.heads.classify import ClassifyHeadConfig
from foretext.ladder.cells import CellFolder, Plan, done
from foretext.ladder.index import Index, read_ladder, write_index
from foretext.prediction import Reader
from foretext.pretraining import Setting, prepare, pretrain
from foretext.recipe import Recipe, from_json, to_json
from foretext.strategies import StrategyConfig
from foretext.tasks.classify import ClassifyConfig
from foretext.text.corpus import strings_corpus
from foretext.text.store import build_store, open_store
from foretext.text.tokenizers import load_tokenizer
from foretext.training import checkpoint
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.transferring import transfer
from foretext.types import Report, State
from stage_two import labelled, pretrained
from trust.world import Child, corpus, recipe, texts

PLAN = Plan(kind="score", rung="word2vec", how="features", labels=5, seed=1, config={"a": 1.5}, data={"pool": "x"})


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Something on disk, and how it is opened."""

    path: Path
    load: Callable[[Path], Any]

    def files(self) -> list[Path]:
        return [self.path] if self.path.is_file() else sorted(p for p in self.path.rglob("*") if p.is_file())


def _features(path: Path) -> Any:
    open_sealed(path, kind="features")
    return read_arrays(path / "features.safetensors")


def _cell(path: Path) -> Any:
    return CellFolder(path=path.parent).read(PLAN.key)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kept]:
    """One of everything that foretext writes."""
    root = tmp_path_factory.mktemp("kept")
    bert, vectors = pretrained("bert"), pretrained("word2vec")
    store = prepare(recipe("bert"), corpus(), None, Setting(cache=root / "cache", workers=0), SilentWatch())
    bert.save(root / "bert")
    vectors.save(root / "vectors")
    checkpoint.save(State(arrays=bert.arrays, cursor={"step": 3, "log": [0.1]}), root / "checkpoints", 3)
    strategy = StrategyConfig(how="features", steps=3, cache=False)
    transfer(vectors, ClassifyConfig(), labelled(30), strategy=strategy, out=root / "adapted")
    view = Reader(tokenizer=vectors.tokenizer, template=vectors.recipe.family.template, limit=None, fit=ClassifyConfig().fit)
    cached_encode(
        vectors.encoder(), view.prepare([text for text, _ in labelled(8)]), ClassifyHeadConfig(), source="w", cache=root, most_tokens=99
    )
    CellFolder(path=root / "cells").write(done(PLAN, scores={"accuracy": 0.25}, correct="a0", tests=4, seconds={"transfer": 1.5}))
    write_index(root / "ladder", Index(keys=(PLAN.key,), about={"tf-idf": "words"}, minutes=2.0))
    write_record(root / "run.json", {"steps": 100, "precision": "fp32", "recipe": to_json(recipe("bert")), "limits": {}})
    return {
        "token store": Kept(path=store.path, load=lambda path: open_store(path, store.tokenizer)),
        "tokenizer": Kept(
            path=next((root / "cache" / "tokenizers").glob("[!.]*")),
            load=lambda path: load_tokenizer(open_sealed(path, kind="tokenizer").path / "files"),
        ),
        "checkpoint": Kept(path=root / "checkpoints" / "step-00000003", load=lambda path: checkpoint.read(path.parent, 3)),
        "pretrained bert": Kept(path=root / "bert", load=load_pretrained),
        "pretrained vectors": Kept(path=root / "vectors", load=load_pretrained),
        "adapted": Kept(path=root / "adapted", load=load_adapted),
        "features": Kept(path=next((root / "features").glob("[!.]*")), load=_features),
        "ladder cell": Kept(path=CellFolder(path=root / "cells").file(PLAN.key), load=_cell),
        "ladder index": Kept(path=root / "ladder" / "ladder.json", load=lambda path: read_ladder(path.parent)),
        "run plan": Kept(path=root / "run.json", load=read_record),
    }


KINDS = (
    "token store", "tokenizer", "checkpoint", "pretrained bert", "pretrained vectors", "adapted", "features", "ladder cell",
    "ladder index", "run plan",
)  # fmt: skip
WAYS = ("bit", "bit", "bit", "bit", "bit", "cut", "empty", "longer", "zeros", "gone")


def damaged(whole: bytes, way: str, rng: np.random.Generator) -> bytes | None:
    """The same file with one fault; None = deleted."""
    raw = bytearray(whole)
    # The first and last bytes and the header as often as all the rest.
    edge = [0, len(raw) - 1, int(rng.integers(min(64, len(raw))))]
    at = int(rng.choice([*edge, *rng.integers(0, len(raw), 3).tolist()]))
    if way == "bit":
        raw[at] ^= 1 << int(rng.integers(8))
    elif way == "cut":
        del raw[at:]
    elif way == "empty":
        raw.clear()
    elif way == "longer":
        raw += bytes([int(rng.integers(256))])
    elif way == "zeros":
        raw[at : at + 512] = bytes(len(raw[at : at + 512]))
    return None if way == "gone" else bytes(raw)


def damage_all(kept: Kept, times: int, seed: int) -> int:
    """So many single faults, spread over the files, each found; how many were (a fault that changes nothing is none)."""
    rng, files, found = np.random.default_rng(seed), kept.files(), 0
    kept.load(kept.path)
    while found < times:
        file = files[found % len(files)]
        whole, way = file.read_bytes(), WAYS[int(rng.integers(len(WAYS)))]
        bad = damaged(whole, way, rng)
        if bad == whole:
            continue
        file.unlink() if bad is None else file.write_bytes(bad)
        with pytest.raises(ArtefactError) as caught:
            kept.load(kept.path)
        assert caught.value.exit_code == 4
        assert str(kept.path) in caught.value.message, (file, way)
        file.write_bytes(whole)
        found += 1
    kept.load(kept.path)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_faults(kept: dict[str, Kept], kind: str) -> None:
    """A thousand in all."""
    assert set(KINDS) == set(kept)
    assert damage_all(kept[kind], 100, seed=KINDS.index(kind)) == 100


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_faults(kept: dict[str, Kept], kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten thousand in all."""
    found = damage_all(kept[kind], 1000, seed=100 + KINDS.index(kind))
    with capsys.disabled():
        print(f"\n{kind}: {found} faults, {found} found")


@pytest.mark.parametrize(
    ("kind", "name"), [("token store", "ids.bin"), ("pretrained vectors", "weights.safetensors"), ("checkpoint", "foretext.json")]
)
def test_cut_at_every_64_bytes(kept: dict[str, Kept], kind: str, name: str) -> None:
    file = kept[kind].path / name
    whole = file.read_bytes()
    assert len(whole) > 640
    for length in range(0, len(whole), 64):
        file.write_bytes(whole[:length])
        with pytest.raises(ArtefactError):
            kept[kind].load(kept[kind].path)
    file.write_bytes(whole)
    kept[kind].load(kept[kind].path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("ladder cell", "ladder index", "run plan")])
def test_missing_surplus_and_strange_files_are_named(kept: dict[str, Kept], kind: str) -> None:
    for file in kept[kind].files():
        aside = file.with_name("aside")
        for other in ("nothing", "a folder", "a dangling link", "another file"):
            file.rename(aside)
            if other == "a folder":
                file.mkdir()
            elif other == "a dangling link":
                file.symlink_to("nowhere")
            elif other == "nothing":
                aside.rename(kept[kind].path.parent / "away")
            with pytest.raises(ArtefactError) as caught:
                kept[kind].load(kept[kind].path)
            if other == "nothing":
                assert file.name in caught.value.message
                (kept[kind].path.parent / "away").rename(aside)
            if file.is_dir():
                file.rmdir()
            file.unlink(missing_ok=True)
            aside.rename(file)
    kept[kind].load(kept[kind].path)


# ── caches are made anew ────────────────────────────────────────────────────────────────────────────────────────────


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def faults_in(folder: Path, seed: int) -> Iterator[str]:
    """One fault in each file, one after the other."""
    rng = np.random.default_rng(seed)
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        bad = damaged(file.read_bytes(), "bit", rng)
        assert bad is not None
        file.write_bytes(bad)
        yield file.name


def test_damaged_caches_are_made_anew(tmp_path: Path) -> None:
    setting, watch = Setting(cache=tmp_path, workers=0), SilentWatch()
    store = prepare(recipe("bert"), corpus(), None, setting, watch)
    folder = next((tmp_path / "tokenizers").glob("[!.]*"))
    for path in (store.path, folder):
        whole = content(path)
        for name in faults_in(path, 0):
            again = prepare(recipe("bert"), corpus(), None, setting, watch)
            assert again.key == store.key
            assert content(path) == whole, name
    assert sum("damaged" in alarm for alarm in watch.alarms) == len(content(folder))
    vectors = pretrained("word2vec")
    view = Reader(tokenizer=vectors.tokenizer, template=vectors.recipe.family.template, limit=None, fit=ClassifyConfig().fit)
    prepared, config = view.prepare([text for text, _ in labelled(8)]), ClassifyHeadConfig()

    def ask() -> tuple[Any, bool]:
        return cached_encode(vectors.encoder(), prepared, config, source="w", cache=tmp_path, most_tokens=99)

    first, _ = ask()
    for name in faults_in(next((tmp_path / "features").glob("[!.]*")), 1):
        features, known = ask()
        assert not known, name
        assert np.array_equal(features, first)
        assert ask()[1]


def test_a_stale_cache_is_not_found(tmp_path: Path) -> None:
    """One letter of the text, or the tokenizer's settings: another key, so another store."""
    setting, watch = Setting(cache=tmp_path, workers=0), SilentWatch()
    made = prepare(recipe("bert"), corpus(), None, setting, watch)
    changed = texts()
    changed[-1] = changed[-1].replace("the", "thy", 1)
    other = prepare(recipe("bert"), strings_corpus(changed), None, setting, watch)
    wider = prepare(recipe("bert", tokenizer={"size": 81}), corpus(), None, setting, watch)
    assert len({made.key, other.key, wider.key}) == 3
    assert build_store(corpus(), made.tokenizer, tmp_path, held_out=0.1).key == made.key


def test_three_that_make_the_same_at_once_make_it_once(tmp_path: Path) -> None:
    class Telling(SilentWatch):
        def say(self, text: str) -> None:
            os.write(said, f"{text}\n".encode())

    said = os.open(tmp_path / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def work() -> None:
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        store = prepare(recipe("bert"), corpus(), None, Setting(cache=tmp_path / "cache", workers=0), Telling())
        assert store.text(0, 4) == store.tokenizer.decode(store.ids[:4].tolist())

    children = [Child(tmp_path / f"{i}", work) for i in range(3)]
    (tmp_path / "go").touch()
    assert [child.wait() for child in children] == [0, 0, 0], [child.err.read_text() for child in children]
    os.close(said)
    assert (tmp_path / "said").read_text().count("training the wordpiece tokenizer") == 1
    folders = [path for path in (tmp_path / "cache").iterdir() if path.name != "tokenizers"]
    assert len(folders) == 1, folders
    assert len(list((tmp_path / "cache" / "tokenizers").iterdir())) == 1


# ── whole, but of another run ───────────────────────────────────────────────────────────────────────────────────────


class StopAt(SilentWatch):
    def report(self, step: int, report: Report) -> None:
        if step == 2:
            import signal

            signal.raise_signal(signal.SIGTERM)


def begun(made: Recipe, out: Path, seed: int = 0) -> Path:
    """A run stopped after two steps; its work folder."""
    setting = Setting(cache=out.parent / "cache", threads=1, device="cpu", workers=0)
    with pytest.raises(Preempted):
        pretrain(made, corpus(seed), out, limits=Limits(steps=6, evaluations=1), setting=setting, watch=StopAt())
    return out.with_name(out.name + ".run")


WORDS = (
    "bf16", "muon", "adamw", "cosine", "constant", "packed", "single", "post", "pre", "gelu", "relu", "none", "first", "unigram",
    "auto", "word", "characters", "zero", "normal", "NFC", "NFKC",
)  # fmt: skip


def others(value: object) -> list[object]:
    """Values that may stand in the place of one in a recipe."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2, value - 1]
    if isinstance(value, float):
        return [value / 2 if value else 0.25, value + 0.25]
    if value is None:
        return [2, 0.5]
    return [word for word in WORDS if word != value] if isinstance(value, str) else []


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield place, value
        return
    for name, part in inner:
        yield from leaves(part, (*place, name))


def changed(made: Recipe) -> Iterator[tuple[str, Recipe]]:
    """The recipe with one field changed, for each field that has another value it may take."""
    for place, value in leaves(to_json(made)):
        if place[0] in ("name", "cites", "limits") or place[-1] == "type":
            continue
        for other in others(value):
            body = json.loads(json.dumps(to_json(made)))
            spot = body
            for name in place[:-1]:
                spot = spot[name]
            spot[place[-1]] = other
            try:
                found = from_json(body, file="changed")
            except (ArtefactError, UsageError, DataError):
                continue
            if found != made:
                yield ".".join(map(str, place)), found
                break


@pytest.mark.parametrize("family", ["bert", "word2vec"])
def test_each_changed_field_is_refused_and_named(tmp_path: Path, family: str) -> None:
    made = recipe(family)
    begun(made, tmp_path / "m")
    setting = Setting(cache=tmp_path / "cache", threads=1, device="cpu", workers=0)
    told: dict[str, str] = {}
    refused = []
    for field, other in changed(made):
        try:
            pretrain(other, corpus(), tmp_path / "m", limits=Limits(steps=6, evaluations=1), setting=setting, resume=True)
        except ArtefactError as error:
            told[field] = error.rule
        except (UsageError, DataError):
            refused.append(field)  # this value cannot work at all
        else:
            pytest.fail(f"{field} was changed, and the run went on")
    for field, rule in told.items():
        assert "another recipe" in rule, (field, rule)
        assert f"{field.split('.')[0]}" in rule.partition("(")[2], (field, rule)
        assert "→" in rule, (field, rule)
    assert len(told) >= (40 if family == "bert" else 20), told
    assert len(refused) <= 5, refused


def test_a_checkpoint_of_another_text_is_refused(tmp_path: Path) -> None:
    """The same sizes, the same recipe, other text: nothing but the checkpoint's own words tells them apart."""
    for family in ("bert", "word2vec"):
        made = recipe(family)
        mine, theirs = (begun(made, tmp_path / f"{family}-{seed}", seed) for seed in (0, 1))
        shutil.rmtree(mine / "checkpoints")
        shutil.copytree(theirs / "checkpoints", mine / "checkpoints")
        setting = Setting(cache=tmp_path / "cache", threads=1, device="cpu", workers=0)
        with pytest.raises(ArtefactError, match=r"of another run \(corpus: \w+ → \w+; store: \w+ → \w+\)"):
            pretrain(made, corpus(), tmp_path / f"{family}-0", limits=Limits(steps=6, evaluations=1), setting=setting, resume=True)


def test_a_damaged_plan_is_refused(tmp_path: Path) -> None:
    work = begun(recipe("word2vec"), tmp_path / "m")
    file = work / "run.json"
    text = file.read_text()
    assert '"steps": 6' in text
    file.write_text(text.replace('"steps": 6', '"steps": 4'))
    setting = Setting(cache=tmp_path / "cache", threads=1, device="cpu", workers=0)
    with pytest.raises(ArtefactError, match="does not match its own checksum"):
        pretrain(replace(recipe("word2vec")), corpus(), tmp_path / "m", limits=Limits(steps=6), setting=setting, resume=True)
