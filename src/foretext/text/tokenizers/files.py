"""A tokenizer on disk: `tokenizer.json` (configuration, key) and plain text files, one entry a line. No pickle, no
foreign format, no regular expression from a file: nothing that a stranger's folder could make run."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec

from foretext.errors import ArtefactError, ForetextError, ResourceError, UsageError
from foretext.folder import read_json, write_json
from foretext.text.tokenizers.config import TokenizerConfig, plain
from foretext.text.tokenizers.phrases import Pair, Phrases
from foretext.text.tokenizers.spelling import (
    BytePairs,
    Spelling,
    Unigram,
    Whole,
    WordPiece,
    byte_values,
    special_ids,
    unknown_token,
)

RULES = "tokenizer.json"
VOCABULARY = "vocab.txt"


def write_files(config: TokenizerConfig, spelling: Spelling, key: str, folder: Path) -> None:
    """Write everything; equal tokenizers give equal bytes. A full disk is a ResourceError."""
    files = {VOCABULARY: spelling.pieces, **spelling.files()}
    try:
        for name, lines in files.items():
            with open(folder / name, "w", encoding="utf-8", newline="\n") as handle:
                handle.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise ResourceError(f"cannot write: {error.strerror or error}", file=folder) from error
    write_json(folder / RULES, {"config": plain(config), "key": key, "files": sorted(files)})


def read_files(folder: Path) -> tuple[TokenizerConfig, Spelling, str]:
    """Configuration, spelling and recorded key. Anything missing or malformed is an ArtefactError."""
    rules = read_json(folder / RULES)
    try:
        config = msgspec.convert(rules["config"], TokenizerConfig, strict=True)
        key = msgspec.convert(rules["key"], str)
        if set(rules["config"]) != set(plain(config)):
            raise ValueError("its configuration has other fields than this version")
    except (msgspec.MsgspecError, UsageError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ArtefactError(f"not a tokenizer: {error}", file=folder / RULES) from error
    pieces = _lines(folder / VOCABULARY)
    try:
        return config, _spelling(config, pieces, folder), key
    except ForetextError as error:
        raise ArtefactError(error.rule, file=error.file or folder, place=error.place) from error


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise ArtefactError("a file of the tokenizer is missing", file=file) from error
    except (OSError, UnicodeError) as error:
        raise ArtefactError(f"not readable as UTF-8: {error}", file=file) from error
    lines = text.split("\n")
    if lines.pop():
        raise ArtefactError("the last line is not ended: the file was cut", file=file, place=f"line {len(lines) + 1}")
    return lines


def _numbers(file: Path, read: Callable[[str], Any], expected: int) -> list[Any]:
    lines = _lines(file)
    if len(lines) != expected:
        raise ArtefactError(f"{len(lines)} lines for {expected} entries of {VOCABULARY}", file=file)
    numbers = []
    for place, line in enumerate(lines, start=1):
        try:
            numbers.append(read(line))
        except ValueError as error:
            raise ArtefactError(f"expected a number, found {line[:40]!r}", file=file, place=f"line {place}") from error
    return numbers


def _count(line: str) -> int:
    """How often a word was seen; ValueError where no text is long enough (and no float64 exact)."""
    number = int(line)
    if not 0 <= number < 1 << 53:
        raise ValueError(line)
    return number


def _spelling(config: TokenizerConfig, pieces: Sequence[str], folder: Path) -> Spelling:
    places = special_ids(config.special, pieces)
    token = unknown_token(config.kind, config.special)
    unknown = places[token] if token else -1
    special = frozenset(places.values())
    if config.kind == "wordpiece":
        return WordPiece(pieces, special, unknown, whole_unknown=config.unseen == "word")
    if config.kind == "bpe":
        return _read_byte_pairs(pieces, special, folder)
    if config.kind == "unigram":
        return Unigram(pieces, _numbers(folder / "scores.txt", float, len(pieces)), special, unknown)
    if max(special) >= len(special):
        raise ArtefactError(f"expected the special tokens {list(config.special)} first", file=folder / VOCABULARY)
    counts = _numbers(folder / "counts.txt", _count, len(pieces))
    if config.phrases:
        return Phrases(pieces, counts, len(special), unknown, _read_phrases(folder / "phrases.txt"))
    return Whole(pieces, counts, len(special), unknown)


def _read_phrases(file: Path) -> list[Pair]:
    pairs: list[Pair] = []
    for place, line in enumerate(_lines(file), start=1):
        number, _, parts = line.partition(" ")
        left, _, right = parts.partition(" ")
        last = pairs[-1][0] if pairs else 0
        if not (number.isascii() and number.isdigit() and left and right) or " " in right or not last <= int(number) < 1000:
            raise ArtefactError(f"expected a pass and two words, found {line[:40]!r}", file=file, place=f"line {place}")
        pairs.append((int(number), left, right))
    return pairs


def _read_byte_pairs(pieces: Sequence[str], special: Collection[int], folder: Path) -> Spelling:
    known = {piece for number, piece in enumerate(pieces) if number not in special}
    if missing := set(byte_values()) - known:
        raise ArtefactError(f"{len(missing)} of the 256 bytes are missing", file=folder / VOCABULARY)
    if strange := next((piece for piece in known if not set(piece) <= set(byte_values())), None):
        raise ArtefactError(f"{strange!r} does not spell bytes", file=folder / VOCABULARY)
    merges = []
    for place, line in enumerate(_lines(folder / "merges.txt"), start=1):
        pair = line.split(" ")
        if len(pair) != 2 or "".join(pair) not in known or not set(pair) <= known:
            raise ArtefactError(
                f"expected two known pieces, found {line[:40]!r}", file=folder / "merges.txt", place=f"line {place}"
            )
        merges.append((pair[0], pair[1]))
    return BytePairs(pieces, merges, special)
