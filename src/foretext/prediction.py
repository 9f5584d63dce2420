"""Texts → tokens → a Model → log-probabilities, in input order, whatever order they were computed in.

n texts · K labels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from foretext.data.batches import to_torch
from foretext.data.plan import offsets, spread
from foretext.data.prepared import Prepared, prepared, replaced
from foretext.data.render import Example, Fit, Tally, render_all
from foretext.training.model import Model
from foretext.types import Batch, Floats, Ints, Place, Template, Text, Tokenizer

HEAD = "classify"
"""The head's name in batches and on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How one source turns texts into its tokens."""

    tokenizer: Tokenizer
    template: Template
    limit: int | None
    """Most tokens of one sequence, special tokens included."""
    fit: Fit

    def prepare(self, texts: Sequence[str], places: Sequence[Place] | None = None) -> Prepared:
        """The texts as one or more windows each. `places` are for messages.

        A text that fits whole needs neither words nor offsets: those are put together as arrays (about three times as
        fast), the others go through `render`, and so does everything where unseen words keep their spelling."""
        if getattr(self.tokenizer, "open", False):
            return self.render(texts, places)
        ids, lengths, _ = self.tokenizer.ids(texts)
        room = np.inf if self.limit is None else self.limit - bool(self.template.start) - bool(self.template.end)
        long = np.flatnonzero(lengths > room)
        whole = self._whole(ids, lengths)
        if not len(long):
            return whole
        rows = long.tolist()
        where = _numbered(texts) if places is None else places
        return replaced(whole, long, self.render([texts[i] for i in rows], [where[i] for i in rows]))

    def render(self, texts: Sequence[str], places: Sequence[Place] | None = None) -> Prepared:
        """`prepare` by way of Examples, as every other task goes."""
        where = places or _numbered(texts)
        examples = [
            Example(options=(((Text(string=text),),),), place=place) for text, place in zip(texts, where, strict=True)
        ]
        rendered = render_all(examples, self.tokenizer, self.template, "joint", self.fit, self.limit)
        return prepared(
            rendered, segments=self.template.segments, summary=self.template.summary != "none", pad=self._pad
        )

    @property
    def _pad(self) -> int:
        return self.tokenizer.special.get("[PAD]", 0)

    def _whole(self, ids: Ints, lengths: Ints) -> Prepared:
        """Every text as one sequence, whatever its length."""
        template, special = self.template, self.tokenizer.special
        before, after = int(bool(template.start)), int(bool(template.end))
        first = offsets(lengths + before + after)
        flat = np.empty(int(first[-1]), np.int32)
        flat[spread(first[:-1] + before, lengths)] = ids
        if before:
            flat[first[:-1]] = special[template.start]
        if after:
            flat[first[1:] - 1] = special[template.end]
        summary = {"start": np.zeros(len(lengths), np.int64), "end": np.diff(first) - 1}.get(template.summary)
        count, tokens = len(lengths), int(lengths.sum())
        return Prepared(
            ids=flat,
            first=first,
            sequences=np.arange(count + 1),
            segment=np.zeros(len(flat), np.int8) if template.segments else None,
            summary=summary,
            pad=self._pad,
            tally=Tally(tokens=tokens, beyond=0, cut=0, examples=count, long=0),
        )


def _numbered(texts: Sequence[str]) -> list[Place]:
    return [Place(file="text", line=number) for number in range(1, len(texts) + 1)]


def views(model: Model, sources: Mapping[str, Prepared], examples: Ints) -> Batch:
    """These examples as every source of `model` sees them. An encoder that never looks around reads one long row."""
    return Batch(
        views={
            name: view.batch(examples, one_row=model.encoder(name).sees == "self") for name, view in sources.items()
        }
    )


@torch.no_grad()
def log_probabilities(
    model: Model,
    sources: Mapping[str, Prepared],
    examples: Ints | None = None,
    *,
    most_tokens: int,
    device: torch.device | str = "cpu",
    bf16: bool = False,
) -> Floats:
    """[n,K] of the given examples (None: all), in that order; examples of like length are computed together. `bf16`:
    arithmetic of the encoder and the head's products; log-probabilities are always fp32."""
    model.to(device).eval()
    lead = max(sources.values(), key=lambda view: len(view.ids))
    wanted = np.arange(len(lead)) if examples is None else examples
    order = wanted[np.argsort(-lead.example_tokens[wanted], kind="stable")]
    parts, numbers = [], []
    for group in lead.groups(order, most_tokens):
        batch = to_torch(views(model, sources, group), device)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bf16):
            found = model.head(HEAD).predict(model(batch))
        parts.append(found.float().cpu().numpy())
        numbers.append(group)
    place = np.empty(len(lead), np.int64)
    place[wanted] = np.arange(len(wanted))
    flat = np.concatenate(parts)
    answer: Floats = np.empty_like(flat)
    answer[place[np.concatenate(numbers)]] = flat
    return answer
