"""What is trained and saved: encoders, heads, and how much each head's loss counts.

Arrays cross the border to disk as fp32 numpy under the names `encoders.<source>.<path>` and `heads.<name>.<path>`;
a tensor that several modules share is written once, under the first of its names (the encoder's).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foretext.errors import ArtefactError
from foretext.types import Arrays, Batch, Encoder, Head, TokenVectors


@final
class Model(nn.Module):
    """Encoders (one a source), heads, and the weight of each head's mean loss (1 where not given)."""

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.heads = nn.ModuleDict(dict(heads))
        self.weights = {name: (weights or {}).get(name, 1.0) for name in heads}
        assert set(weights or ()) <= set(heads), (
            f"weights for heads that are not there: {set(weights or ()) - set(heads)}"
        )

    def forward(self, batch: Batch) -> dict[str, TokenVectors]:
        """The vectors of every source."""
        return {source: encoder(batch.views[source]) for source, encoder in self.encoders.items()}

    def losses(self, batch: Batch, vectors: Mapping[str, TokenVectors] | None = None) -> dict[str, Tensor]:
        """Each targeted head's summed loss (nats) over its counted targets; pass `vectors` where they are at hand."""
        seen = self(self._wanted(batch)) if vectors is None else vectors
        return {name: self.head(name).loss(seen, target) for name, target in batch.targets.items()}

    def _wanted(self, batch: Batch) -> Batch:
        """The batch, each view told which top vectors its heads will read, where every targeted head can say."""
        read: dict[str, list[Tensor]] = {}
        for name, target in batch.targets.items():
            places = getattr(self.heads[name], "places", None)
            found = None if places is None else places(batch, target)
            if found is None:
                return batch
            for source, at in found.items():
                read.setdefault(source, []).append(at)
        unique = {source: at[0] if len(at) == 1 else torch.unique(torch.cat(at)) for source, at in read.items()}
        views = {source: replace(batch.views[source], wanted=at) for source, at in unique.items()}
        return Batch(views={**batch.views, **views}, targets=batch.targets)

    def measures(self, batch: Batch, vectors: Mapping[str, TokenVectors] | None = None) -> dict[str, dict[str, Tensor]]:
        """Each targeted head's further sums, such as "correct", for heads that have any. For evaluation: not free."""
        seen = self(batch) if vectors is None else vectors
        able = {name: getattr(self.head(name), "measures", None) for name in batch.targets}
        return {name: dict(of(seen, batch.targets[name])) for name, of in able.items() if of is not None}

    def loss(self, batch: Batch, counts: Mapping[str, int] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Σ weight · sum / count over the heads, and the sums.

        `counts`: each head's targets in the whole update, of which this may be one micro-batch (None: this batch's
        own); then the micro-batches' losses add up to the loss of the update. A head without targets adds 0.
        """
        sums = self.losses(batch)
        whole = {name: target.count for name, target in batch.targets.items()} if counts is None else counts
        shares = [self.weights[name] * value / max(whole[name], 1) for name, value in sums.items()]
        return sum(shares[1:], shares[0]), sums

    def encoder(self, source: str) -> Encoder:
        """The encoder of `source`, as what it answers to."""
        return cast(Encoder, self.encoders[source])

    def head(self, name: str) -> Head:
        """The head called `name`, as what it answers to."""
        return cast(Head, self.heads[name])

    def groups(self) -> dict[str, Sequence[nn.Parameter]]:
        """Parameters bottom to top under `encoders.<source>.<group>`, then `heads.<name>`; each exactly once, so a head
        lists only what it does not share with an encoder."""
        groups: dict[str, Sequence[nn.Parameter]] = {}
        for source in self.encoders:
            for group, parameters in self.encoder(source).groups().items():
                groups[f"encoders.{source}.{group}"] = tuple(parameters)
        taken = {id(parameter) for parameters in groups.values() for parameter in parameters}
        for name, head in self.heads.items():
            own = tuple(parameter for parameter in head.parameters() if id(parameter) not in taken)
            taken.update(map(id, own))
            groups[f"heads.{name}"] = own
        missing = [path for path, parameter in self.named_parameters() if id(parameter) not in taken]
        assert not missing, f"parameters in no group: {missing}"
        return groups

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every tensor once, as fp32 numpy copies."""
        return to_arrays(self)

    def load(self, arrays: Arrays, *, within: str = "", file: str | PathLike[str] | None = None) -> None:
        """Copy `arrays` in. `within`: only names that start so, on both sides, e.g. "encoders.text."."""
        copy_in(self, arrays, within=within, file=file)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers by path, shared ones once (under the first path)."""
    tensors: dict[str, Tensor] = dict(module.named_parameters())
    saved = set(module.state_dict(keep_vars=True))
    tensors.update((name, buffer) for name, buffer in module.named_buffers() if name in saved)
    return tensors


def to_arrays(module: nn.Module, prefix: str = "") -> dict[str, NDArray[Any]]:
    """`module`'s tensors as fp32 numpy copies, under `prefix` + path."""
    return {
        prefix + name: np.array(value.detach().to("cpu", torch.float32).numpy(), copy=True)
        for name, value in named_tensors(module).items()
    }


def copy_in(
    module: nn.Module,
    arrays: Arrays,
    *,
    prefix: str = "",
    within: str = "",
    file: str | PathLike[str] | None = None,
) -> None:
    """Copy `arrays` into `module`, whose tensors are called `prefix` + path; nothing is copied unless all fit.

    Only names that start with `prefix` and `within` are looked at. ArtefactError names every missing, surplus and
    mis-shaped tensor.
    """
    here = {prefix + n: t for n, t in named_tensors(module).items() if (prefix + n).startswith(within)}
    given = {n: a for n, a in arrays.items() if n.startswith(prefix) and n.startswith(within)}
    faults = [f"missing {name} {list(here[name].shape)}" for name in here if name not in given]
    faults += [f"surplus {name} {list(given[name].shape)}" for name in given if name not in here]
    faults += [
        f"{name}: expected {list(here[name].shape)}, found {list(given[name].shape)}"
        for name in here
        if name in given and tuple(here[name].shape) != tuple(given[name].shape)
    ]
    if faults:
        raise ArtefactError(
            f"the tensors do not fit the model: {'; '.join(faults)}",
            file=file,
            remedy="load them with the recipe they were trained with",
        )
    with torch.no_grad():
        for name, value in here.items():
            value.copy_(torch.as_tensor(np.asarray(given[name]), dtype=value.dtype))
