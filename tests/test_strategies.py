"""Strategies as phases: which group moves when, and how fast."""

import pytest

from foretext.errors import UsageError
from foretext.strategies import ULMFIT_DECAY, Offer, StrategyConfig, limits, settle

BERT = Offer(widths=(128,) * 3, summary=True, groups=("embeddings", "layer_0", "layer_1", "final_norm", "pooler"))
STATIC = Offer(widths=(100,), summary=False, groups=("embeddings",))


def rates(config: StrategyConfig, offer: Offer = BERT) -> list[dict[str, float]]:
    return [dict(phase.rates) for phase in settle(config, {"text": offer}, 100).phases]


def test_features_and_frozen_train_the_head_alone() -> None:
    assert rates(StrategyConfig(how="features")) == rates(StrategyConfig(how="frozen")) == [{"heads": 1.0}]


def test_discriminative_rates_fall_by_layer_and_parts_above_the_top_layer_go_with_it() -> None:
    (found,) = rates(StrategyConfig(layer_decay=ULMFIT_DECAY, rate=1e-3, head_rate=1e-3))
    text = {name.removeprefix("encoders.text."): rate for name, rate in found.items()}
    assert text.pop("heads") == pytest.approx(1.0)
    assert text == pytest.approx(
        {"pooler": 1.0, "final_norm": 1.0, "layer_1": 1.0, "layer_0": 1 / 2.6, "embeddings": 1 / 2.6**2}
    )


def test_gradual_unfreezing_opens_one_group_at_a_time_from_the_top() -> None:
    found = rates(StrategyConfig(unfreeze="gradual"))
    moving = [{name.rsplit(".", 1)[-1] for name, rate in phase.items() if rate > 0} for phase in found]
    top = {"heads", "layer_1", "pooler", "final_norm"}
    assert moving == [{"heads"}, top, top | {"layer_0"}, top | {"layer_0", "embeddings"}]
    shares = [phase.share for phase in settle(StrategyConfig(unfreeze="gradual"), {"text": BERT}, 100).phases]
    assert sum(shares) == pytest.approx(1.0)
    assert shares[-1] == 0.5


def test_defaults_follow_the_family() -> None:
    tuned = settle(StrategyConfig(), {"text": BERT}, 100)
    assert (tuned.pool, tuned.layers, tuned.normalize) == ("summary", "last", False)
    assert tuned.optimizer.rate == pytest.approx(5e-4)
    base = Offer(widths=(768, 768), summary=True, groups=("embeddings", "layer_0"))
    assert settle(StrategyConfig(), {"text": base}, 9).optimizer.rate == pytest.approx(5e-5)
    static = settle(StrategyConfig(), {"text": STATIC}, 100)
    assert (static.pool, static.normalize) == ("mean", True)
    features = settle(StrategyConfig(how="features"), {"text": BERT}, 100)
    assert (features.pool, features.layers) == ("mean", "mix")
    both = settle(StrategyConfig(), {"text": BERT, "vectors": STATIC}, 100)
    assert both.pool == "mean"


def test_steps_are_enough_for_few_examples_and_grow_with_many() -> None:
    few, many = (settle(StrategyConfig(), {"text": BERT}, n) for n in (10, 100_000))
    assert (few.batch, few.steps) == (16, 100)
    assert many.steps == 4 * 100_000 // 16
    head = settle(StrategyConfig(how="features"), {"text": BERT}, 10_000)
    assert (head.batch, head.steps) == (32, 10 * 10_000 // 32)
    assert settle(StrategyConfig(steps=7), {"text": BERT}, 10).steps == 7
    assert settle(StrategyConfig(epochs=3, least_steps=0, batch=10), {"text": BERT}, 100).steps == 30
    assert settle(StrategyConfig(epochs=3, batch=10), {"text": BERT}, 100).steps == 30  # as many as were asked for
    assert settle(StrategyConfig(epochs=3, least_steps=50, batch=10), {"text": BERT}, 100).steps == 50
    assert settle(StrategyConfig(batch=10), {"text": BERT}, 100).steps == 100
    assert settle(StrategyConfig(epochs=0.1, least_steps=0, batch=10), {"text": BERT}, 100).steps == 1


def test_the_prior_is_a_decay_that_fades_with_examples() -> None:
    few, many = (settle(StrategyConfig(how="features"), {"text": STATIC}, n).optimizer for n in (50, 5000))
    assert few.decay == pytest.approx(100 / (3 * 50))
    assert many.decay == pytest.approx(few.decay / 100)
    assert few.epsilon == 1.0 and few.rate == pytest.approx(16 / 100)
    wide = settle(StrategyConfig(how="frozen", pool="concat"), {"text": BERT, "v": STATIC}, 10).optimizer
    assert wide.rate == pytest.approx(16 / (3 * 228))
    assert settle(StrategyConfig(how="features", hidden=8), {"text": STATIC}, 50).optimizer.epsilon < 1e-3
    assert settle(StrategyConfig(how="features", decay=0.5), {"text": STATIC}, 50).optimizer.decay == 0.5


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"0 .embeddings. to 2, found 3"):
        settle(StrategyConfig(layers=3), {"text": BERT}, 10)


def test_without_dev_nothing_is_evaluated_and_the_last_weights_stay() -> None:
    assert limits(StrategyConfig(patience=3), has_dev=False, keep=0).evaluations == 0
    assert limits(StrategyConfig(patience=3), has_dev=False, keep=0).choose == "last"
    found = limits(StrategyConfig(patience=3), has_dev=True, keep=1)
    assert (found.choose, found.patience, found.keep) == ("best", 3, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 0}, {"layer_decay": 0.0}, {"dropout": 1.0}, {"rate": -1.0}, {"prior": 0.0}, {"how": "frozen", "unfreeze": "gradual"}],
)
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        StrategyConfig(**wrong)  # type: ignore[arg-type]
