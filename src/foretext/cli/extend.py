"""`extend`: new words for a pretrained vocabulary."""

import msgspec

from foretext import api
from foretext.cli import options
from foretext.cli.output import say, table, write_json
from foretext.cli.train import reading_of
from foretext.extending import Coverage, Extension

SHOWN = 12
"""New words shown, and words left out."""


def extend(chosen: options.Extend) -> None:
    """Add words, save the folder, and report coverage before and after."""
    found = api.extend(
        chosen.pretrained,
        list(chosen.corpus),
        chosen.out,
        words=chosen.words,
        most=chosen.most,
        min_count=chosen.min_count,
        reading=reading_of(chosen.reading),
    )
    if chosen.json:
        told = {name: msgspec.to_builtins(getattr(found, name)) for name in ("before", "after", "added", "left_out", "notes")}
        made = found.pretrained
        write_json({"path": str(made.path), "key": made.key, "vocabulary": made.tokenizer.size, **told})
        return
    _say(found, chosen.out.name)


def _say(found: Extension, name: str) -> None:
    made, added = found.pretrained, found.added
    old, many = made.tokenizer.size - len(added), "s"[: len(added) > 1]
    say(f"{made.path}: {len(added):,} word{many} added, vocabulary {old:,} → {made.tokenizer.size:,}, key {made.key}")
    rows = [(what, *values) for what, values in zip(_MEASURES, zip(_told(found.before), _told(found.after), strict=True), strict=True)]
    table([f"of {found.before.words:,} running words", "before", "after"], rows)
    say()
    shown = [[one.word, f"{one.count:,}", " ".join(one.pieces)] for one in added[:SHOWN]]
    table(["word added", "seen", "was spelled"], shown)
    if len(added) > SHOWN:
        say(f"… and {len(added) - SHOWN:,} more")
    for word, why in found.left_out[:SHOWN]:
        say(f"left out: {word} ({why})")
    if len(found.left_out) > SHOWN:
        say(f"left out: {len(found.left_out) - SHOWN:,} more")
    for note in found.notes:
        say(note)
    say(f"next: foretext pretrain RECIPE CORPUS --from {name} --out {name}-continued")


_MEASURES = ("one piece", "pieces a word", "partly unknown")


def _told(found: Coverage) -> tuple[str, str, str]:
    return f"{found.whole:.1%}", f"{found.pieces:.3f}", f"{found.unknown:.2%}"
