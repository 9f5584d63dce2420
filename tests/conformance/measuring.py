"""Check 11: a measure is the same in one pass and in parts, without padding or chance, and equal to a plain reference."""

import math
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from conformance.layout import explode, lay, one_a_row
from conformance.rows import Row, TaskRow, cast_to, texts_of
from foretext import adapted as adapted_module
from foretext.data.batches import to_torch
from foretext.metrics import scores


def measuring(row: Row | TaskRow) -> None:
    """`evaluate` twice under other random states: equal bits. Its losses and accuracies: those of the held-out examples
    read one at a time, no slot of weight 0 and no pad among them (float64: 1e-12, plain Python sums)."""
    stepper = row.stepper(4)
    stepper.step()
    torch.manual_seed(1)
    first = stepper.evaluate()
    torch.manual_seed(2)
    assert stepper.evaluate() == first and len(first), "evaluation depends on chance"
    if isinstance(row, Row) and row.own:
        getattr(row.own, "measure", _pair_loss)(stepper)
        return
    model = cast_to(stepper.model, torch.float64).eval()
    found = stepper.evaluate()
    plain, counts, hits = _one_at_a_time(model, stepper._held_out)
    for name, nats in plain.items():
        assert abs(found[f"{name} loss"] - nats / counts[name]) <= 1e-12 * max(1.0, nats), f"{name} loss"
        assert found[f"{name} count"] == counts[name]
        if f"{name} accuracy" in found and name in hits:
            assert found[f"{name} accuracy"] == hits[name] / counts[name], f"{name} accuracy"
    wanted = sum(model.weights[name] * nats / counts[name] for name, nats in plain.items())
    assert abs(found["loss"] - wanted) <= 1e-12 * max(1.0, wanted)
    if isinstance(row, TaskRow):
        _scores(row)
        _chunks(row)


@torch.no_grad()
def _one_at_a_time(model: Any, batches: Any) -> tuple[dict[str, float], dict[str, int], dict[str, int]]:
    nats: dict[str, float] = {}
    counts: dict[str, int] = {}
    hits: dict[str, int] = {}
    for batch in batches:
        for example in explode(batch):
            alone = to_torch(lay([example], one_a_row([example]), max(map(len, example))))
            vectors = model(alone)
            for name, target in alone.targets.items():
                said = model.head(name).predict(vectors, target)
                gold = target.gold.long()
                if gold.ndim == 1:
                    each = -said[torch.arange(len(gold)), gold]
                    hits[name] = hits.get(name, 0) + int((said.argmax(-1) == gold).sum())
                else:
                    other = torch.log1p(-said.exp())
                    each = -torch.where(gold > 0, said, other).sum(1)
                    hits[name] = hits.get(name, 0) + int(((said.exp() >= 0.5) == (gold > 0)).all(1).sum())
                nats[name] = nats.get(name, 0.0) + math.fsum(each.tolist())
                counts[name] = counts.get(name, 0) + len(gold)
    return nats, counts, hits


def _pair_loss(stepper: Any) -> None:
    """word2vec: the held-out loss against a plain loop over pairs (float64: 1e-9)."""
    pairs, total = stepper._pairs, 0.0
    inward, outward = stepper.inward.astype(np.float64), stepper.outward.astype(np.float64)
    for centre, context, negative in zip(pairs.centre, pairs.context, pairs.negative, strict=True):
        total += math.log1p(math.exp(-float(inward[centre] @ outward[context])))
        total += sum(math.log1p(math.exp(float(inward[centre] @ outward[k]))) for k in negative if k >= 0)
    assert abs(stepper.evaluate()["loss"] - total / len(pairs.centre)) <= 1e-9


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _scores(row: TaskRow) -> None:
    """Sums of odd blocks = one pass; each score against scikit-learn or, for calibration, a loop over the bins."""
    task = row.bench().task
    rng, n = np.random.default_rng(3), 101
    probabilities = rng.dirichlet((1.0, 1.5), n)
    if row.multi:
        probabilities = rng.random((n, 2))
    gold = (rng.random((n, 2)) < probabilities).astype(int) if row.multi else (rng.random(n) < probabilities[:, 1]).astype(int)
    whole = scores(task.metrics, probabilities, gold)
    for metric in task.metrics:
        rows = metric.rows(probabilities, gold)
        streamed = sum(metric.rows(probabilities[i : i + 7], gold[i : i + 7]).sum(0) for i in range(0, n, 7))
        for name, value in metric.score(streamed).items():
            assert abs(float(value) - whole[name]) <= 1e-12, name
        assert len(rows) == n
    said = (probabilities >= 0.5).astype(int) if row.multi else probabilities.argmax(1)
    wanted = {"macro F1": f1_score(gold, said, average="macro"), "calibration error": _calibration(probabilities, gold)}
    if row.multi:
        wanted |= {"micro F1": f1_score(gold, said, average="micro"), "exact match": accuracy_score(gold, said)}
        wanted["label accuracy"] = float((gold == said).mean())
    else:
        wanted |= {"accuracy": accuracy_score(gold, said), "MCC": matthews_corrcoef(gold, said)}
    assert whole.keys() == wanted.keys()
    for name, value in wanted.items():
        assert abs(whole[name] - value) <= 1e-12, f"{name}: {whole[name]}, the reference says {value}"


def _calibration(probabilities: Any, gold: Any) -> float:
    """Guo et al. 2017, eq. 3, decision by decision: Σ share of a bin · |accuracy − confidence|, 15 bins (low, high]."""
    decisions = []
    for p, g in zip(probabilities, gold, strict=True):
        if np.ndim(g):
            decisions += [(max(x, 1 - x), (x >= 0.5) == bool(y)) for x, y in zip(p, g, strict=True)]
        else:
            decisions.append((max(p), int(np.argmax(p)) == g))
    total = 0.0
    for b in range(15):
        inside = [(c, r) for c, r in decisions if b / 15 < c <= (b + 1) / 15]
        total += abs(math.fsum(r for _, r in inside) - math.fsum(c for c, _ in inside))
    return total / len(decisions)


def _chunks(row: TaskRow) -> None:
    """Answers in chunks of five texts = all at once (float32: 1e-5)."""
    made, texts = row.adapted(), texts_of(row)
    whole = made.log_probabilities(texts)
    kept, adapted_module.CHUNK = adapted_module.CHUNK, 5
    try:
        assert np.abs(made.log_probabilities(texts) - whole).max() <= 1e-5
    finally:
        adapted_module.CHUNK = kept
