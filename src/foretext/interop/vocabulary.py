"""BERT's vocabularies from elsewhere and back: tokenizer.json, vocab.txt, tokenizer_config.json ⇄ ChunkTokenizer.

Accepted is what BERT is: BertNormalizer, BertPreTokenizer, WordPiece with "##" and words of at most 100 characters,
[CLS] A [SEP] B [SEP]. Anything else is refused in one message that names the part. Ids are transformers' own, with one
difference on purpose: "[MASK]" or "[SEP]" written in a text is text here, and never becomes the special token.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from foretext.errors import ArtefactError, UsageError
from foretext.folder import write_json
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.types import JSON

RULES, PIECES, SETTINGS = "tokenizer.json", "vocab.txt", "tokenizer_config.json"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NEEDED = ("[UNK]", "[CLS]", "[SEP]")
MOST_BYTES = 64 << 20
MOST_PIECES = 2_000_000
LONGEST = 100
ROW = "[row {}]"
"""The piece of an embedding row beyond the vocabulary, as padded tables have them; no text ever becomes one."""


# ── in, inside the sandbox ──────────────────────────────────────────────────────────────────────────────────────────


def inspect(folder: Path) -> JSON:
    """`pieces` in the order of ids, `special`, `lowercase`, `strip_accents`, `chinese`; None where the folder has no
    vocabulary. tokenizer.json decides where there is one, as in transformers; a vocab.txt beside it must agree."""
    rules = _rules(folder / RULES) if (folder / RULES).is_file() else None
    plain = _lines(folder / PIECES) if (folder / PIECES).is_file() else None
    if rules is None and plain is None:
        return None
    if rules is not None and plain is not None:
        _compare(rules["pieces"], plain, folder)
    found = rules if rules is not None else _settings(folder, plain or [])
    _check_pieces(found["pieces"], folder / (RULES if rules else PIECES))
    missing = [token for token in NEEDED if token not in found["special"]]
    if missing:
        raise ArtefactError(f"the vocabulary lacks the special tokens {', '.join(missing)}", file=folder)
    return found


def read_bytes(file: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file that has at most `most`."""
    size = file.stat().st_size
    if size > most:
        raise ArtefactError(f"{size:,} bytes, at most {most:,} are read", file=file)
    return file.read_bytes()


def as_object(raw: bytes, file: Path, place: str = "") -> dict[str, Any]:
    """The JSON object that `raw` spells."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise ArtefactError(f"damaged JSON: {error}", file=file, place=place) from error
    if not isinstance(value, dict):
        raise ArtefactError(f"expected a JSON object, found {type(value).__name__}", file=file, place=place)
    return value


def read_object(file: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object in a file of at most `most` bytes."""
    return as_object(read_bytes(file, most), file)


def _lines(file: Path) -> list[str]:
    try:
        text = read_bytes(file).decode("utf-8")
    except UnicodeError as error:
        raise ArtefactError(f"not UTF-8: {error}", file=file) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _check_pieces(pieces: Sequence[str], file: Path) -> None:
    if not 0 < len(pieces) <= MOST_PIECES:
        raise ArtefactError(f"{len(pieces):,} pieces, expected 1 to {MOST_PIECES:,}", file=file)
    for number, piece in enumerate(pieces):
        if "\n" in piece or "\r" in piece or any("\ud800" <= c <= "\udfff" for c in piece):
            raise ArtefactError("a piece holds a line end or half a character", file=file, place=f"piece {number}")


def _compare(rules: Sequence[str], plain: Sequence[str], folder: Path) -> None:
    """Added tokens may follow the pieces of vocab.txt; otherwise the two lists are one."""
    differing = next((n for n, (a, b) in enumerate(zip(rules, plain, strict=False)) if a != b), None)
    if differing is None and len(plain) > len(rules):
        differing = len(rules)
    if differing is not None:
        raise ArtefactError(f"{PIECES} and {RULES} differ", file=folder, place=f"piece {differing}", remedy="remove the wrong one")


def _settings(folder: Path, pieces: list[str]) -> dict[str, JSON]:
    """What vocab.txt leaves open, from tokenizer_config.json; where nothing says whether the model is cased, the
    vocabulary does: a cased one has pieces with capital letters."""
    file = folder / SETTINGS
    given = read_object(file) if file.is_file() else {}
    for name in ("pad", "unk", "cls", "sep", "mask"):
        token = given.get(f"{name}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if token not in (None, f"[{name.upper()}]"):
            raise _other(file, f"{name}_token", token, f"[{name.upper()}]")
    cased = any(c.isascii() and c.isupper() for piece in pieces if not piece.startswith("[") for c in piece)
    lowercase = given.get("do_lower_case", not cased)
    accents, chinese = given.get("strip_accents"), given.get("tokenize_chinese_chars", True)
    if not isinstance(lowercase, bool) or accents not in (None, True, False) or not isinstance(chinese, bool):
        raise ArtefactError("do_lower_case, strip_accents and tokenize_chinese_chars are true or false", file=file)
    special = [token for token in SPECIAL if token in pieces]
    stripped = lowercase if accents is None else accents
    return {"pieces": pieces, "special": special, "lowercase": lowercase, "strip_accents": stripped, "chinese": chinese}


def _rules(file: Path) -> dict[str, JSON]:
    rules = read_object(file)
    model, normal = _part(rules, "model", "WordPiece", file), _part(rules, "normalizer", "BertNormalizer", file)
    _part(rules, "pre_tokenizer", "BertPreTokenizer", file)
    for name, expected in (("unk_token", "[UNK]"), ("continuing_subword_prefix", "##"), ("max_input_chars_per_word", LONGEST)):
        if model.get(name, expected) != expected:
            raise _other(file, f"model.{name}", model[name], expected)
    if normal.get("clean_text", True) is not True:
        raise _other(file, "normalizer.clean_text", normal["clean_text"], True)
    lowercase, accents = normal.get("lowercase", True), normal.get("strip_accents")
    chinese = normal.get("handle_chinese_chars", True)
    if not isinstance(lowercase, bool) or accents not in (None, True, False) or not isinstance(chinese, bool):
        raise _other(file, "normalizer", "settings that are no true or false", "BERT's")
    _check_template(rules.get("post_processor"), file)
    pieces, special = _numbered(model.get("vocab"), rules.get("added_tokens") or [], file)
    stripped = lowercase if accents is None else accents
    return {"pieces": pieces, "special": special, "lowercase": lowercase, "strip_accents": stripped, "chinese": chinese}


def _part(rules: dict[str, Any], name: str, kind: str, file: Path) -> dict[str, Any]:
    part = rules.get(name)
    found = part.get("type", kind if name == "model" and "continuing_subword_prefix" in part else None) if isinstance(part, dict) else None
    if found != kind or not isinstance(part, dict):
        raise _other(file, name, found or "nothing", kind)
    return part


def _other(file: Path, place: str, found: object, expected: object) -> ArtefactError:
    return ArtefactError(
        f"expected BERT's {expected!r}, found {str(found)[:60]!r}", file=file, place=place, remedy="only BERT's own kind of tokenizer is read"
    )


def _check_template(part: Any, file: Path) -> None:
    if part is None:
        return
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "BertProcessing":
        found = [str(part.get(name))[:60] for name in ("cls", "sep") if str((part.get(name) or [""])[0]) != f"[{name.upper()}]"]
        if found:
            raise _other(file, "post_processor", found[0], "[CLS] and [SEP]")
    elif kind != "TemplateProcessing" or _template(part.get("single")) != "[CLS]0 A0 [SEP]0":
        raise _other(file, "post_processor", kind, "TemplateProcessing [CLS] A [SEP]")
    elif _template(part.get("pair")) != "[CLS]0 A0 [SEP]0 B1 [SEP]1":
        raise _other(file, "post_processor.pair", _template(part.get("pair")), "[CLS] A [SEP] B [SEP]")


def _template(items: Any) -> str:
    try:
        return " ".join(f"{one['id']}{one['type_id']}" for item in items for one in item.values())
    except (TypeError, KeyError, AttributeError):
        return "nothing"


def _numbered(vocab: Any, added: Any, file: Path) -> tuple[list[str], list[str]]:
    """The pieces in the order of their ids, which must be 0, 1, …; and the special ones."""
    if not isinstance(vocab, dict) or not isinstance(added, list) or len(vocab) > MOST_PIECES:
        raise ArtefactError("expected a vocabulary of pieces and their ids", file=file, place="model.vocab")
    ids: dict[str, Any] = dict(vocab)
    special = {token for token in SPECIAL if token in ids}
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise ArtefactError("expected tokens with content and id", file=file, place="added_tokens")
        if token.get("special") is not True:
            raise _other(file, "added_tokens", token["content"], "special tokens alone")
        if ids.setdefault(token["content"], token.get("id")) != token.get("id"):
            raise ArtefactError(f"{token['content'][:60]!r} has two ids", file=file, place="added_tokens")
        special.add(token["content"])
    pieces: dict[int, str] = {}
    for piece, number in ids.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(ids):
            raise ArtefactError(f"{len(ids):,} pieces, and {piece[:60]!r} has the id {str(number)[:20]}", file=file, place="model.vocab")
        if number in pieces:
            raise ArtefactError(f"{pieces[number][:60]!r} and {piece[:60]!r} have one id", file=file, place="model.vocab")
        pieces[number] = piece
    ordered = [pieces[number] for number in range(len(pieces))]
    return ordered, [piece for piece in ordered if piece in special]


# ── in and out, outside ─────────────────────────────────────────────────────────────────────────────────────────────


def rows(pieces: Sequence[str], count: int, file: Path) -> list[str]:
    """The pieces of an embedding table of `count` rows: padded tables have rows beyond the vocabulary."""
    if len(pieces) > count:
        raise ArtefactError(f"{len(pieces):,} pieces for embeddings of {count:,} rows", file=file)
    return [*pieces, *(ROW.format(number) for number in range(len(pieces), count))]


def config_of(found: JSON, count: int) -> TokenizerConfig:
    """The settings under which a ChunkTokenizer gives the ids that transformers gives."""
    return TokenizerConfig(
        kind="wordpiece",
        size=count,
        lowercase=found["lowercase"],
        strip_accents=found["strip_accents"],
        chinese="characters" if found["chinese"] else "plain",
        special=tuple(found["special"]),
        unseen="word",
        folding="bert",
    )


def differences(config: TokenizerConfig) -> str:
    """What of `config` no foreign tokenizer can do the same way; "" for one that came from there. Errors: a kind that
    they have not at all → UsageError naming the field."""
    for field, value, expected in (("kind", config.kind, ("wordpiece",)), ("chinese", config.chinese, ("characters", "plain"))):
        if value not in expected:
            raise UsageError(
                f"BERT's other programs have no tokenizer with {field} = {value!r}", place=f"tokenizer.{field}",
                remedy=f"export a model with {' or '.join(map(repr, expected))}",
            )  # fmt: skip
    if config.folding == "bert":
        return ""
    what = "a word with an unseen character is one [UNK] there" if config.unseen == "character" else ""
    return "; ".join(filter(None, [what, "a few rare characters (Hangul, controls, 々 and 〇) are cut otherwise there"]))


def write(config: TokenizerConfig, pieces: Sequence[str], folder: Path, *, positions: int, rules: bool) -> None:
    """Write vocab.txt and, with `rules`, tokenizer.json and tokenizer_config.json."""
    kept = list(pieces)
    while kept and kept[-1] == ROW.format(len(kept) - 1):
        kept.pop()
    twice = len(kept) - len(set(kept))
    if twice and rules:
        raise UsageError(f"{twice} pieces stand twice in the vocabulary, which {RULES} cannot hold")
    (folder / PIECES).write_text("".join(f"{piece}\n" for piece in kept), encoding="utf-8", newline="\n")
    if not rules:
        return
    ids = {piece: number for number, piece in enumerate(kept)}
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask") if f"[{name.upper()}]" in ids}
    lowercase, chinese = config.lowercase, config.chinese == "characters"
    settings = {"do_lower_case": lowercase, "strip_accents": config.strip_accents, "tokenize_chinese_chars": chinese}
    write_json(folder / SETTINGS, {"tokenizer_class": "BertTokenizer", "model_max_length": positions, **settings, **names})
    normal = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": chinese}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": LONGEST}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(token, ids[token]) for token in sorted(config.special, key=ids.__getitem__)],
        "normalizer": {**normal, "strip_accents": config.strip_accents, "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _processor(ids),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {**model, "vocab": ids},
    }
    (folder / RULES).write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")


def _added(token: str, number: int) -> JSON:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **plain, "special": True}


def _processor(ids: dict[str, int]) -> JSON:
    def special(token: str, segment: int) -> JSON:
        return {"SpecialToken": {"id": token, "type_id": segment}}

    first = [special("[CLS]", 0), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]", 0)]
    return {
        "type": "TemplateProcessing",
        "single": first,
        "pair": [*first, {"Sequence": {"id": "B", "type_id": 1}}, special("[SEP]", 1)],
        "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
    }
