"""Encoders that do not learn: read without gradients (`frozen`), or read once and remembered (`features`).

Both stand in a Model where an encoder stands, so one head, one stepper and one loop serve every strategy. What is
remembered is what the head computes before its first parameter: each layer it reads, pooled to one vector a window, or
where a host reads them each token's. An item is a window or a token accordingly.

S sequences (windows) · I items · L layers read · P width of an item's vector · R rows · T tokens a row
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, final

import numpy as np
import torch
from torch import Tensor, nn

from foretext.data.batches import view_to_torch
from foretext.data.plan import offsets, spread
from foretext.data.prepared import Prepared
from foretext.errors import ArtefactError, ResourceError
from foretext.folder import fingerprint, is_sealed, locked, open_sealed, read_arrays, sealing, write_arrays
from foretext.heads.classify import ClassifyHeadConfig, Shape, layers_of, layers_read, pooled_width
from foretext.layers.ragged import tensor
from foretext.types import Encoder, Floats, Ints, TokenBatch, TokenVectors

KIND = "features"
Sees = Literal["self", "left", "left|right", "both"]


class Remember(Protocol):
    """How vectors that are read once are come by: (layers of all items [I,L,P], whether they were there
    already). `source`: the encoder's `weights_key`."""

    def __call__(
        self,
        encoder: Encoder,
        prepared: Prepared,
        config: ClassifyHeadConfig,
        *,
        source: str,
        most_tokens: int,
        device: str,
        bf16: bool,
    ) -> tuple[Floats, bool]: ...


@final
class Frozen(nn.Module):
    """An encoder that is read and never moves: no gradient, no dropout, no parameters of its own in the Model, so
    neither an optimizer nor a checkpoint can touch it."""

    limit: int | None
    sees: Sees
    widths: tuple[int, ...]

    def __init__(self, encoder: Encoder, *, device: torch.device | str = "cpu") -> None:
        super().__init__()
        assert isinstance(encoder, nn.Module)
        encoder.to(device)
        # A list hides the module from torch's registration (and so from `to`).
        self._hidden: list[Any] = [encoder]
        self.widths, self.sees, self.limit = encoder.widths, encoder.sees, encoder.limit

    @property
    def table(self) -> Any:
        """The encoder's input embedding matrix."""
        return self._hidden[0].table

    def forward(self, batch: TokenBatch) -> TokenVectors:
        encoder = self._hidden[0]
        if encoder.training:
            encoder.eval()
        with torch.no_grad():
            vectors: TokenVectors = encoder(batch)
        return vectors

    def groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """No group: nothing here learns."""
        return {}


@final
class Remembered(nn.Module):
    """Vectors [I,L,P] in an encoder's place: a "token" is an item's number, a layer is that item's vector."""

    limit: int | None = None
    sees: Sees = "self"
    widths: tuple[int, ...]

    def __init__(self, features: Floats, *, is_summary: bool, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self._features_LSP = torch.from_numpy(np.ascontiguousarray(features.transpose(1, 0, 2))).to(device)
        self._is_summary = is_summary
        self.widths = (features.shape[2],) * features.shape[1]

    def features(self, items: Ints) -> Floats:
        """The vectors of these items, [n,L,P]."""
        return self._features_LSP[:, torch.from_numpy(items)].transpose(0, 1).cpu().numpy()

    @property
    def table(self) -> Any:
        """None: there are no tokens here."""
        return None

    def forward(self, batch: TokenBatch) -> TokenVectors:
        layers = self._features_LSP[:, tensor(batch.ids)].unbind(0)
        return TokenVectors(layers=layers, batch=batch, summary=layers[-1][0] if self._is_summary else None)

    def groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """No group: nothing here learns."""
        return {}


def items(prepared: Prepared, config: ClassifyHeadConfig, windows: Ints) -> Ints:
    """The numbers of these windows' items, window after window."""
    return windows if config.host == "none" else spread(prepared.first[windows], prepared.lengths[windows])


def remembered_view(prepared: Prepared, config: ClassifyHeadConfig) -> Prepared:
    """The same examples for a `Remembered` encoder: each window is one token, its own number; for a host, each token."""
    if config.host != "none":
        return Prepared(ids=np.arange(len(prepared.ids)), first=prepared.first, sequences=prepared.sequences)
    windows = len(prepared.lengths)
    return Prepared(ids=np.arange(windows), first=np.arange(windows + 1), sequences=prepared.sequences)


def remembered_head(config: ClassifyHeadConfig, layers: int) -> ClassifyHeadConfig:
    """The head that reads remembered vectors as `config` reads the encoder's: pooling is done already, and the mean of
    one vector is that vector. Its parameters have the same names and shapes."""
    if config.pool == "summary":
        return config
    return replace(config, pool="mean", layers="mix" if config.layers == "mix" and layers > 1 else "last")


def forecast_bytes(prepared: Prepared, shape: Shape, config: ClassifyHeadConfig) -> int:
    """Size of the features of all items, fp32."""
    count = len(prepared.lengths if config.host == "none" else prepared.ids)
    return 4 * count * layers_read(shape, config) * pooled_width(shape, config)


@torch.no_grad()
def encode(
    encoder: Encoder,
    prepared: Prepared,
    config: ClassifyHeadConfig,
    *,
    most_tokens: int,
    windows: Ints | None = None,
    device: torch.device | str = "cpu",
    bf16: bool = False,
) -> Floats:
    """Layers of the items of the given windows (None: all), fp32 [I,L,P]; like lengths are read together, so that little
    is padding."""
    assert isinstance(encoder, nn.Module)
    encoder.eval()
    encoder.to(device)
    single = _each_window_alone(prepared)
    parts: list[Tensor] = []
    order: list[np.ndarray[Any, Any]] = []
    wanted = np.arange(len(single)) if windows is None else windows
    longest_first = wanted[np.argsort(-single.lengths[wanted], kind="stable")]
    for group in single.groups(longest_first, most_tokens):
        view = view_to_torch(single.batch(group, one_row=encoder.sees == "self"), device)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bf16):
            layers = layers_of(encoder(view), config)
        parts.append(torch.stack([layer.float() for layer in layers], dim=1).cpu())
        order.append(group)
    flat = torch.cat(parts).numpy()
    sizes = np.ones(len(single), np.int64) if config.host == "none" else single.lengths
    first, read = np.empty(len(single), np.int64), np.concatenate(order)
    first[wanted] = offsets(sizes[wanted])[:-1]
    features: Floats = np.empty_like(flat)
    features[spread(first[read], sizes[read])] = flat
    return features


def cached_encode(
    encoder: Encoder,
    prepared: Prepared,
    config: ClassifyHeadConfig,
    *,
    source: str,
    cache: Path,
    most_tokens: int,
    device: torch.device | str = "cpu",
    bf16: bool = False,
) -> tuple[Floats, bool]:
    """`encode` through the cache folder: (features, whether they were there already).

    The key is the encoder's (`source`: a fingerprint of its weights), every token, and what the head reads; a damaged
    folder is made anew, and two writers wait for each other. Too little disk space → ResourceError with the bytes.
    """
    what = config.pool if config.host == "none" else "tokens"
    key = fingerprint(KIND, source, what, config.layers, bf16, *_content(prepared))
    path = cache / KIND / key
    with locked(path):
        if is_sealed(path):
            try:
                open_sealed(path, kind=KIND)
                return read_arrays(path / "features.safetensors")["features"], True
            except ArtefactError:
                pass  # damaged: replaced below
        features = encode(encoder, prepared, config, most_tokens=most_tokens, device=device, bf16=bf16)
        free = shutil.disk_usage(path.parent).free
        if features.nbytes > free:
            raise ResourceError(
                f"the features need {features.nbytes:,} bytes, {free:,} are free", file=path, remedy='use how = "frozen"'
            )
        with sealing(path, kind=KIND, key=key, replace=True) as draft:
            write_arrays(draft / "features.safetensors", {"features": features})
    return features, False


def _each_window_alone(prepared: Prepared) -> Prepared:
    """The same windows, each an example of its own."""
    count = len(prepared.lengths)
    return replace(prepared, sequences=np.arange(count + 1))


def _content(prepared: Prepared) -> list[bytes]:
    arrays = (prepared.ids, prepared.first, prepared.segment, prepared.summary)
    return [b"" if array is None else np.asarray(array, np.int64).tobytes() for array in arrays]
