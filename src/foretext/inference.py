"""A model at rest: texts → vectors of their tokens, in input order, whatever order they were computed in.

T tokens of a text · D width · S sequences
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretext.data.batches import pack, pack_by_length, view_to_torch
from foretext.data.render import Example, Fit, Rendered, render_all
from foretext.errors import UsageError
from foretext.training.model import Model
from foretext.types import UNSEEN, Batch, Encoding, Ints, Template, Text, Tokenizer, TokenVectors

SOURCE = "text"
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One text's tokens and their vectors. `tokens` [T] as pieces (an unseen word's is its spelling); `offsets` [T,2] characters of the text; `words` [T]
    the word number of each token; `layers[l]` [T,D_l], 0 = embeddings; `summary` [D] (the mean over windows), or None
    for families without one. Special tokens are not among the tokens."""

    tokens: tuple[str, ...]
    ids: Ints
    offsets: Ints
    words: Ints
    layers: tuple[Vectors, ...]
    summary: Vectors | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A tokenizer that gives back what is encoded already, every token a word of its own: windows then divide the
    tokens among them exactly, even inside a word longer than a window."""

    special: Mapping[str, int]
    encodings: Sequence[Encoding]

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        return [replace(e, word=np.arange(len(e.ids))) for e in self.encodings]


@torch.no_grad()
def encode(
    model: Model, tokenizer: Tokenizer, template: Template, texts: Sequence[str | Text], *, batch_tokens: int = 8192
) -> list[Encoded]:
    """Every token's vector in every layer. A text over the encoder's limit is read in windows that overlap by a
    quarter; each token's vector comes from the window that shows most on the token's poorer side."""
    given = [Text(string=text) if isinstance(text, str) else text for text in texts]
    encodings = tokenizer.encode(given)
    encoder = model.encoder(SOURCE)
    fit = Fit(policy="window", stride=(encoder.limit or 0) // 4)
    examples = [Example(options=(((text,),),)) for text in given]
    known: Any = _Known(tokenizer.special, encodings)
    sequences = [one for windows in render_all(examples, known, template, "joint", fit, encoder.limit) for one in windows]
    made = [[np.zeros((len(e.ids), width), np.float32) for width in encoder.widths] for e in encodings]
    summaries: list[list[Vectors]] = [[] for _ in encodings]
    model.eval()
    filled = [s for s in sequences if len(s)]
    for group in pack_by_length(np.array([len(s) for s in filled], np.int64), batch_tokens):
        chosen = [filled[i] for i in group.tolist()]
        view = pack(chosen, packed=True, pad_id=tokenizer.special.get("[PAD]", 0))
        vectors = model(Batch(views={SOURCE: view_to_torch(view)}))[SOURCE]
        _take(vectors, chosen, np.asarray(view.bounds), made, summaries)
    return [
        Encoded(
            tokens=tuple(encoding.forms[i] if i >= UNSEEN else tokenizer.pieces[i] for i in encoding.ids.tolist()),
            ids=encoding.ids,
            offsets=encoding.offsets,
            words=encoding.word,
            layers=tuple(layers),
            summary=np.mean(found, axis=0, dtype=np.float32) if found else None,
        )
        for encoding, layers, found in zip(encodings, made, summaries, strict=True)
    ]


def _take(
    vectors: TokenVectors,
    sequences: Sequence[Rendered],
    bounds: Ints,
    made: list[list[Vectors]],
    summaries: list[list[Vectors]],
) -> None:
    """Copy each sequence's owned tokens to their texts."""
    layers = [layer.float().cpu().numpy() for layer in vectors.layers]
    summary = None if vectors.summary is None else vectors.summary.float().cpu().numpy()
    for number, (sequence, (row, start, stop)) in enumerate(zip(sequences, bounds.tolist(), strict=True)):
        tokens = sequence.word[sequence.owned]
        for into, layer in zip(made[sequence.example], layers, strict=True):
            into[tokens] = layer[row, start:stop][sequence.owned]
        if summary is not None:
            summaries[sequence.example].append(summary[number])


def chosen_layers(item: Encoded, layer: str) -> dict[str, Vectors]:
    """The layers that a user names: "all", "mix" (their mean; all must be as wide), or a number, negative from the top."""
    count = len(item.layers)
    if layer == "all":
        return {str(number): vectors for number, vectors in enumerate(item.layers)}
    if layer == "mix":
        widths = {vectors.shape[1] for vectors in item.layers}
        if len(widths) > 1:
            raise UsageError(f"layers of widths {sorted(widths)} have no mean", remedy="choose one layer")
        return {"mix": np.mean(np.stack(item.layers), axis=0, dtype=np.float32)}
    try:
        number = int(layer)
    except ValueError as error:
        raise UsageError(f"expected a layer's number, mix or all, found {layer!r}") from error
    if not -count <= number < count:
        raise UsageError(f"layer {number} of a model with layers 0 to {count - 1}", remedy=f"choose 0 to {count - 1}")
    return {str(number % count): item.layers[number]}


def pooled(item: Encoded, how: str, layer: str) -> Vectors:
    """One vector of a text: its summary, or the mean over its tokens of the chosen layer ("all": layers end to end).
    A text without tokens has zeros."""
    if how == "summary":
        if item.summary is None:
            raise UsageError("this family has no summary vector", remedy="use --pool mean")
        return item.summary
    means = [v.mean(axis=0) if len(v) else np.zeros(v.shape[1], np.float32) for v in chosen_layers(item, layer).values()]
    whole: Vectors = np.concatenate(means)
    return whole
