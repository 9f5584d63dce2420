"""Runs that are there already: an unfinished one is continued, and a finished one handed out, only where it is the run that was
asked for. How long a run is was settled when it began; a finished one's corpus is not read again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from foretext.bundle import Pretrained, load_pretrained
from foretext.config import differences
from foretext.errors import ArtefactError, UsageError, few
from foretext.folder import read_record
from foretext.recipe import Recipe, from_json
from foretext.training.config import Limits
from foretext.types import JSON


def same_run(recipe: Recipe, source: Pretrained | None, out: Path) -> Pretrained:
    """The model in `out`. `recipe`: as a run that goes on from `source` settles it. Errors: no run made `out` → UsageError;
    a run of another recipe, or from another model, did → ArtefactError naming the differences."""
    made = load_pretrained(out)
    if not made.provenance.steps:
        raise UsageError("the output folder exists, and no run of pretrain made it", file=out, remedy="choose another, or remove it first")
    changed = ["recipe"] if made.provenance.recipe != lasting_key(recipe) else []
    if made.provenance.source != (source.key if source else ""):
        changed.append("source")
    if changed:
        raise _other("finished run was made", changed, made.recipe, recipe, out, "choose another folder for this one")
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What run.json must hold."""

    corpus: str
    recipe_key: str
    store: str
    source: str
    recipe: dict[str, Any]
    steps: int
    precision: Literal["fp32", "bf16"] | None
    limits: Limits


def read_plan(file: Path) -> JSON:
    """What an unfinished run wrote down before its first step; ArtefactError when it is damaged."""
    plan = read_record(file)
    try:
        steps = msgspec.convert(plan, _Plan).steps
        if steps < 1:
            raise UsageError(f"expected at least one step, found {steps}")
    except (msgspec.ValidationError, UsageError, OverflowError) as error:
        raise ArtefactError(f"not a run's plan: {error}", file=file, remedy="remove the folder and start again") from error
    return plan


def refuse_other(plan: JSON, mine: Mapping[str, str], recipe: Recipe, file: Path) -> None:
    """ArtefactError where the run that `plan` began, as `file` tells, is not the one of `mine` (corpus, recipe, store, source)."""
    changed = [name for name in mine if plan.get(name) != mine[name]]
    if not changed:
        return
    before = from_json(plan["recipe"], file=str(file))
    raise _other("unfinished run was begun", changed, before, recipe, file, "resume with the same one, or remove it and start again")


def _other(what: str, changed: Sequence[str], before: Recipe, now: Recipe, file: Path, remedy: str) -> ArtefactError:
    """`what` with another recipe, source, corpus or store: which fields of the recipe differ."""
    fields = [f"{f}: {a} → {b}" for f, a, b in differences(before, now) if not f.startswith(("limits", "cites", "name"))]
    told = f" ({few(fields, 5, '; ')})" if fields else ""
    return ArtefactError(f"the {what} with another {', '.join(c.removesuffix('_key') for c in changed)}{told}", file=file, remedy=remedy)


def lasting_key(recipe: Recipe) -> str:
    """The recipe's key without its limits: how long, how often looked at, may be left out when resuming."""
    return replace(recipe, limits=Limits()).key()
