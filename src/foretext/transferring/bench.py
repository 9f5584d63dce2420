"""What every seed of a transfer shares: texts rendered once, features encoded once, the strategy settled."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from foretext.adapted import head_config, make_head, reader_of, shape_of
from foretext.bundle import Pretrained
from foretext.data.plan import spread
from foretext.data.prepared import Prepared
from foretext.draws import generator, number
from foretext.features import (
    Frozen,
    Remember,
    Remembered,
    cached_encode,
    encode,
    forecast_bytes,
    items,
    remembered_head,
    remembered_view,
)
from foretext.folder import fingerprint
from foretext.heads.classify import ClassifyHead
from foretext.metrics import scores
from foretext.prediction import HEAD, log_probabilities
from foretext.preflight import require_features
from foretext.strategies import Offer, StrategyConfig, settle
from foretext.tasks.classify import ClassifyTask
from foretext.text.store import default_cache
from foretext.training.model import Model
from foretext.training.progress import Watch
from foretext.transferring.data import Data
from foretext.types import JSON, Arrays, Encoder, Floats, Ints

CENTRE_TEXTS = 512
"""Training texts that a head's centre is the mean of."""


class Bench:
    """What all seeds share: texts rendered once, features encoded once, the settled strategy."""

    def __init__(
        self,
        sources: Mapping[str, Pretrained],
        task: ClassifyTask,
        data: Data,
        strategy: StrategyConfig,
        watch: Watch,
        device: str,
        remember: Remember | None = None,
    ) -> None:
        self.sources, self.task, self.data, self.strategy, self.device = sources, task, data, strategy, device
        self.remember = remember
        encoders = {name: source.encoder() for name, source in sources.items()}
        self.shapes = {name: shape_of(sources[name], encoder) for name, encoder in encoders.items()}
        self.offers = {name: offer_of(sources[name], encoder) for name, encoder in encoders.items()}
        self.settled = settle(strategy, self.offers, len(data.train))
        self.head = head_config(task, self.settled)
        self.label_weights = task.label_weights(data.gold[data.train])
        self.texts = {
            name: reader_of(sources[name], task, encoder.limit).prepare(data.texts, data.places)
            for name, encoder in encoders.items()
        }
        self.limit_report = {name: _limits_told(name, view, watch) for name, view in self.texts.items()}
        self.frozen: dict[str, Frozen] = {}
        if strategy.how == "frozen":
            self.frozen = {name: Frozen(encoder, device=device) for name, encoder in encoders.items()}
        self.remembered: dict[str, Remembered] = {}
        if strategy.how == "features":
            self.remembered = {name: self._remember(name, encoder, watch) for name, encoder in encoders.items()}
        self.probed: dict[str, tuple[Remembered, Prepared]] = {}
        self.centres = self._centres(encoders) if self.head.normalize else {}
        self.majority = self._majority_score()

    @property
    def metric(self) -> str:
        """The score that chooses."""
        return self.task.metrics[0].names[0]

    @property
    def _bf16(self) -> bool:
        return self.strategy.precision == "bf16"

    @property
    def seen(self) -> dict[str, Prepared]:
        """The examples as this strategy's encoders see them."""
        if self.strategy.how == "features":
            return {name: remembered_view(view, self.head) for name, view in self.texts.items()}
        return self.texts

    def model(self, seed: int) -> Model:
        """A Model with a new head."""
        shapes, config, encoders = self.shapes, self.head, dict[str, Any]()
        if self.strategy.how == "features":
            layers = max(len(r.widths) for r in self.remembered.values())
            config = remembered_head(config, layers)
            encoders = dict(self.remembered)
            shapes = {
                name: replace(shape, widths=self.remembered[name].widths) for name, shape in self.shapes.items()
            }
        elif self.strategy.how == "frozen":
            encoders = dict(self.frozen)
        else:
            encoders = {name: source.encoder() for name, source in self.sources.items()}
        head = ClassifyHead(shapes, len(self.task.labels), config, self.label_weights, number(seed, "head"))
        head.set_centres(self.centres)
        return Model(encoders, {HEAD: head})

    def probabilities(self, model: Model, rows: Ints) -> Floats:
        """[n,K] of the given rows."""
        found = log_probabilities(
            model, self.seen, rows, most_tokens=self.strategy.micro_tokens, device=self.device, bf16=self._bf16
        )
        return np.exp(found.astype(np.float64))

    def mix_weights(self, arrays: Arrays) -> dict[str, list[float]]:
        """The share each layer has in the learned mix, by source."""
        head = make_head(self.shapes, self.task, self.settled)
        own = {name.removeprefix(f"heads.{HEAD}."): array for name, array in arrays.items() if name.startswith("heads.")}
        head.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in own.items()})
        return head.mix_weights()

    def _remember(self, name: str, encoder: Any, watch: Watch) -> Remembered:
        view, shape = self.texts[name], self.shapes[name]
        size = forecast_bytes(view, shape, self.head)
        require_features(size)
        count, kind = (len(view.lengths), "windows") if self.head.host == "none" else (len(view.ids), "tokens")
        watch.say(f"features of {name}: {count:,} {kind}, {size / 1e6:,.1f} MB")
        most, bf16 = self.strategy.micro_tokens, self._bf16
        if self.remember or self.strategy.cache:
            remember: Remember = self.remember or partial(cached_encode, cache=default_cache())
            key = weights_key(self.sources[name])
            features, known = remember(
                encoder, view, self.head, source=key, most_tokens=most, device=self.device, bf16=bf16
            )
            watch.say("read from the cache" if known else "encoded and cached")
        else:
            features = encode(encoder, view, self.head, most_tokens=most, device=self.device, bf16=bf16)
        return Remembered(features, is_summary=self.head.pool == "summary", device=self.device)

    def _centres(self, encoders: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Each source's mean layers [L,P], as the head reads them, over at most `CENTRE_TEXTS` training texts, whatever the strategy."""
        train = self.data.train
        some = train[np.sort(generator(0, "centre texts").permutation(len(train))[:CENTRE_TEXTS])]
        centres = {}
        for name, view in self.texts.items():
            windows = spread(view.sequences[some], np.diff(view.sequences)[some])
            if name in self.remembered:
                features = self.remembered[name].features(items(view, self.head, windows))
            else:
                features = encode(
                    encoders[name], view, self.head, windows=windows, most_tokens=self.strategy.micro_tokens,
                    device=self.device, bf16=self._bf16,
                )  # fmt: skip
            mean = features.sum(0, dtype=np.float64) / max(1, len(features))  # texts of unseen characters have no token
            centres[name] = torch.from_numpy(mean.astype(np.float32))
        return centres

    def _majority_score(self) -> float:
        gold = self.data.gold[self.data.dev]
        if not len(gold):
            return 0.0
        shares = self.task.majority(self.data.gold[self.data.train])
        return scores(self.task.metrics[:1], np.tile(shares, (len(gold), 1)), gold)[self.metric]


def offer_of(source: Pretrained, encoder: Encoder) -> Offer:
    """What an encoder offers a strategy."""
    summary = shape_of(source, encoder).summary is not None and "next_sentence" in source.recipe.objectives
    return Offer(widths=tuple(encoder.widths), summary=summary, groups=tuple(encoder.groups()))


def weights_key(source: Pretrained) -> str:
    """Fingerprint of an encoder's weights themselves, whatever folder they came from."""
    names = sorted(name for name in source.arrays if name.startswith("encoders."))
    return fingerprint(source.recipe.family, *names, *(np.ascontiguousarray(source.arrays[n]).tobytes() for n in names))


def _limits_told(name: str, view: Prepared, watch: Watch) -> JSON:
    """What the encoder's limit does to these texts; always said."""
    found = view.tally
    assert found is not None, "made by rendering texts"
    tokens = max(found.tokens, 1)
    watch.say(f"source {name}: {found.tokens:,} tokens; {found}")
    return {
        "texts": found.examples,
        "texts over the limit": found.long,
        "share that one window cannot show": found.beyond / tokens,
        "share cut": found.cut / tokens,
    }
