"""Every benchmark at its tiniest size, to see that it works: no test here looks at a speed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are no part of an installed package")

from benchmarks import (
    cells,
    finetune,
    gemm,
    glove,
    mlm,
    ours,
    peers,
    processes,
    protocol,
    race,
    rates,
    render,
    startup,
    store,
    texts,
)
from foretext.errors import ArtefactError

needs_peer = pytest.mark.skipif(bool(peers.missing()), reason=peers.missing() or "-")
needs_datasets = pytest.mark.skipif(bool(store.missing()), reason=store.missing() or "-")
quietly = pytest.mark.filterwarnings("ignore")  # what the peers warn of is theirs
TINY = ["--size", "tiny", "--length", "32", "--characters", "40000", "--text", "zipf", "--inline"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> texts.Material:
    folder = tmp_path_factory.mktemp("material") / "made"
    return texts.material(folder, source="zipf", characters=20_000, vocabulary=300, share=0.41, longest=32)


# ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("share", mlm.SHARES)
def test_lengths_have_the_mean_that_was_asked_for(share: float) -> None:
    found = texts.lengths(share, 128, 20_000)
    assert found.mean() / 128 == pytest.approx(share, abs=0.005)
    assert found.min() >= 4 and found.max() == 128


def test_both_sides_read_the_same_sequences(made: texts.Material) -> None:
    mine = texts.as_store(made)
    sequences = texts.sequences(made)
    assert np.array_equal(np.concatenate(sequences), mine.ids) and len(sequences) == made.sequences
    assert [len(s) for s in sequences] == np.diff(mine.sentences).tolist()
    assert made.mean == pytest.approx(np.mean([len(s) + 2 for s in sequences]))
    if not peers.missing():
        row = peers.rows(made)[3]["input_ids"]
        assert row[1:-1] == sequences[3].tolist() and (row[0], row[-1]) == (2, 3)


def test_useful_flops_are_those_of_the_products() -> None:
    """One layer of width 2 and inner 8, sequences of 3 tokens, vocabulary 5: counted by hand."""
    size = {"layers": 1, "width": 2, "heads": 1, "inner": 8}
    weights = 2 * (4 * 2 * 2 + 2 * 2 * 8)  # multiply and add with every entry of the block's matrices, a token
    attention = 2 * (2 * 3 * 2)  # q·k and weights·v against 3 tokens
    head = 2 * (2 * 2 + 2 * 5)
    assert gemm.useful_flops(size, 5, 3.0, 9.0, 0.5) == 3 * (weights + attention + 0.5 * head)


def test_the_packing_gate_sees_a_leak(made: texts.Material, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"size": mlm.SIZES["tiny"]["size"], "rows": 4, "masked": 0.15, "rate": 1e-3}
    assert ours.packing_error(spec, made) <= 1e-5
    monkeypatch.setattr("foretext.models.bert.model.attention_bias", lambda batch, x: 0.0 * x[:, :1, :1, None])
    assert ours.packing_error(spec, made) > 1e-3


def test_sides_take_turns_in_processes_of_their_own_and_failures_are_told(made: texts.Material) -> None:
    spec = {"run": "benchmarks.gemm:measure", "size": mlm.SIZES["tiny"]["size"], "vocabulary": 300, "tokens": 8, "masked": 0.15}
    with protocol.started({"gemm": {**spec, "square": 16}}) as sides:
        rounds = protocol.alternate(sides, protocol.Request(seconds=0), rounds=2, quiet=True)
    assert len(rounds["gemm"]) == 2 and all(r.units > 0 and r.wall > 0 and r.cpu > 0 for r in rounds["gemm"])
    assert {name.split()[0] for name in rounds["gemm"][0].extra} == {"float32", "bfloat16"}
    with pytest.raises(RuntimeError, match="gone: KeyError"):
        protocol.Side("gone", {"run": "benchmarks.gemm:measure"}, inline=True)


def test_a_ratio_is_taken_round_by_round() -> None:
    def rounds(*walls: float) -> list[protocol.Round]:
        return [protocol.Round(units=10, wall=w, cpu=2 * w, steps=1, load=0.0) for w in walls]

    assert protocol.ratios(rounds(1, 2, 4), rounds(2, 4, 8)) == [2.0, 2.0, 2.0]
    assert protocol.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert protocol.quartiles([7.0]) == (7.0, 7.0, 7.0)


# ── the benchmarks, whole ───────────────────────────────────────────────────────────────────────────────────────────


def test_startup_and_its_limit(tmp_path: Path) -> None:
    (cell,) = startup.main(["--rounds", "2", "--out", str(tmp_path)])
    assert cells.read_all(tmp_path) == [cells.read(tmp_path / f"{cell.name}.json")]
    assert cell.checks[0].limit == 0.3 and "foretext --help" in render.render([cell])


@quietly
@needs_peer
def test_mlm_beside_the_trainer(tmp_path: Path) -> None:
    sides = ["ours", "hf fp32", "hf tuned+kept", "gemm"]
    given = [*TINY, "--share", "0.41", "--threads", "1", "--rounds", "2", "--seconds", "0.02", "--square", "64", "--curve", "10"]
    (cell,) = mlm.main([*given, "--sides", *sides, "--out", str(tmp_path)])
    assert set(cell.rounds) == set(sides) and all(len(r) == 2 for r in cell.rounds.values())
    assert len(cell.checks) == 2 and all(check.passed for check in cell.checks)
    assert cell.data["mean"] / 32 == pytest.approx(0.41, abs=0.02)
    document = render.render(cells.read_all(tmp_path))
    assert "| hf tuned+kept |" in document and "Untested: no cell was measured on a GPU" in document
    fast, slow = (replace(cell, name="mlm-mini-41.test", machine={**cell.machine, "flags": [f]}) for f in ("amx_bf16", "avx2"))
    assert "≥ 14: " in render.render([fast]) and "not measurable" in render.render([slow])


@quietly
@needs_datasets
def test_store_gives_the_peers_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [*TINY[4:], "--vocabulary", "300", "--rounds", "1", "--seconds", "0", "--out", str(tmp_path)]
    (cell,) = store.main(given)
    assert cell.checks[0].passed and set(cell.rounds) == {"ours", "datasets + tokenizers"}
    monkeypatch.setattr(store, "_equal", lambda folder: cells.Check(name="ids", value=1, limit=0))
    with pytest.raises(SystemExit, match="differ"):
        store.main(given)


@quietly
@needs_peer
def test_finetune_from_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = texts.zipf(9000)
    monkeypatch.setattr(finetune, "labelled", lambda name: [(t[i : i + 90], "ab"[i // 90 % 2]) for t in words for i in range(0, 900, 90)])
    given = ["--size", "tiny", "--length", "32", "--train", "16", "--test", "8", "--texts", "20", "--pretraining", "2"]
    (cell,) = finetune.main([*given, "--epochs", "1", "--rounds", "1", "--inline", "--out", str(tmp_path)])
    assert set(cell.rounds) == {"ours", "ours, 1 pass", "hf fp32", "hf bf16"}
    assert all(0 <= r[0].extra["accuracy"] <= 1 for r in cell.rounds.values()) and len(cell.checks) == 2
    assert "times less time than hf fp32's passes" in render.render([cell])


@quietly
@needs_peer
def test_the_same_weights_give_the_same_vectors(made: texts.Material, tmp_path: Path) -> None:
    """The race's evaluation: one loss for a model in either layout. And the fine-tuning benchmark's start is those weights."""
    import torch
    from transformers import BertForMaskedLM

    from foretext.bundle import SOURCE, Pretrained, build_model
    from foretext.data.config import WindowsConfig
    from foretext.interop.huggingface import to_hf
    from foretext.models.bert.config import BertConfig
    from foretext.recipes import find

    family = BertConfig(**mlm.SIZES["tiny"]["size"], positions=32, initial_sd=0.3)
    masked = find("bert-mini").objectives["masked"]
    recipe = replace(
        find("bert-mini"), family=family, objectives={"masked": masked}, windows=WindowsConfig(kind="packed", length=32)
    )
    model, store = build_model(recipe, made.vocabulary).eval(), race.store_of(made)
    source = Pretrained(recipe=recipe, tokenizers={SOURCE: store.tokenizer}, arrays=model.arrays())
    to_hf(source, tmp_path / "hf")
    twin = BertForMaskedLM.from_pretrained(tmp_path / "hf").eval()
    table = finetune.network(source, 2).bert.embeddings.word_embeddings.weight
    assert torch.equal(table, twin.bert.embeddings.word_embeddings.weight)
    batches = race.held_out(store, 32, 40)
    assert race.loss(race.score_peer(twin), batches) == pytest.approx(race.loss(race.score_ours(model), batches), abs=1e-5)


@quietly
@needs_peer
def test_race(tmp_path: Path) -> None:
    given = [*TINY, "--minutes", "0.002", "--seeds", "1", "--held-out", "32", "--plans", "1", "--peers", "tuned"]
    (cell,) = race.main([*given, "--out", str(tmp_path)])
    (run,) = cell.facts["runs"]
    assert run["peer"] == "tuned" and run["target"] > 0 and run["ours loss"] > 0
    assert "| tuned | 0 |" in render.render([cell])


def test_rates_need_no_peer(tmp_path: Path) -> None:
    given = ["--recipes", "word2vec", "--characters", "6000", "--rounds", "1", "--seconds", "0", "--inline"]
    (cell,) = rates.main([*given, "--out", str(tmp_path)])
    assert "word2vec: pretraining, tokens" in cell.rounds and all(r[0].units > 0 for r in cell.rounds.values())
    assert "wordpiece: corpus to store, words" in render.render([cell])


@pytest.mark.soak
def test_two_processes_make_the_run_of_one(tmp_path: Path) -> None:
    (cell,) = processes.main(["--steps", "3", "--rounds", "1", "--text", "zipf", "--characters", "20000", "--out", str(tmp_path)])
    assert cell.checks[0].passed and "one process" in render.render([cell])


# ── the document ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_committed_document_is_what_the_committed_cells_say() -> None:
    render.main(["--check"])


def test_an_edited_cell_is_refused(tmp_path: Path) -> None:
    (cell,) = startup.main(["--rounds", "1", "--out", str(tmp_path)])
    file = tmp_path / f"{cell.name}.json"
    value = json.loads(file.read_text())
    value["config"]["rounds"] = 99
    file.write_text(json.dumps(value))
    with pytest.raises(ArtefactError, match="edited"):
        cells.read(file)


def test_glove_at_its_tiniest(tmp_path: Path) -> None:
    given = ["--characters", "60000", "--text", "zipf", "--width", "8", "--epochs", "1", "--rounds", "1", "--memory", "1", "--min-count", "2"]
    counting, training = glove.main([*given, "--inline", "--out", str(tmp_path)])
    (counted,), (trained,) = counting.rounds["ours"], training.rounds["ours"]
    assert counted.units == counting.data["words"] > 5000 and counted.extra["runs"] >= 1
    entries = training.facts["sides"]["ours"]["entries"]
    assert 0.98 * entries < trained.units <= entries, "the diagonal is its own mirror image, and no more is left out"
    assert set(training.rounds) == {"ours", "ours, 2 threads", "ours, 2 threads in step"}
    assert trained.extra["held-out loss"] == training.rounds["ours, 2 threads in step"][0].extra["held-out loss"]
    text = render.render(cells.read_all(tmp_path))
    assert "GloVe: counting and training" in text and "of the memory" in text and text.count("≥ ") >= 2
