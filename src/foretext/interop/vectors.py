"""Static vectors in the layouts of other programs, in and out; what a file is, is told by what is in it.

word2vec (word2vec.c, gensim's `save_word2vec_format`; fastText's .vec): the header "V D\\n", then a word and D numbers a
line, or (`-binary 1`) the word, a space, D little-endian float32 and a newline. GloVe: lines of the text layout without
a header. fastText's .bin and spaCy's folders: `fasttext_file`, `spacy_folder`. gensim's own .kv is a pickle, which is
never opened: gensim reads and writes word2vec's layouts (`KeyedVectors.load_word2vec_format`, for GloVe with
`no_header=True`) and reads fastText's (`load_facebook_vectors`).

V words · D width
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from foretext.bundle import SOURCE, STATIC_TABLE, Pretrained, Provenance, load_pretrained, machine
from foretext.errors import ArtefactError, UsageError, no_file
from foretext.first_vectors import KEY, WORDS
from foretext.folder import is_sealed
from foretext.interop import fasttext_file, spacy_folder
from foretext.interop.vector_checks import LONGEST_WORD, MOST_WIDTH, Table, check, digest, require_room
from foretext.models.catalog import FAMILIES, family, require, resolve, static
from foretext.recipe import FamilyConfig, Recipe
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig
from foretext.text.tokenizers.spelling import Whole

LAYOUTS = ("word2vec", "word2vec-binary", "glove", "fasttext", "fasttext-vec", "spacy")
"""Names for `to`; "fasttext" is the .bin, "fasttext-vec" word2vec's text layout under fastText's name for it."""
_UNKNOWN = "[UNK]"
_PICKLES = tuple(b"\x80" + bytes([version]) for version in range(2, 6))


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def to_vectors(model: Pretrained, out: Path, layout: str) -> str:
    """Write the static vectors of `model` in one of LAYOUTS, words in the order of their ids (most frequent first); read
    them back and compare. Errors: a family that has none, or words that the layout cannot hold → UsageError."""
    name = model.recipe.family.name
    if not static(name):
        able = ", ".join(other for other in FAMILIES if static(other))
        raise UsageError(f"the {layout} layout holds static vectors; {name} has none", file=model.path, remedy=f"these have: {able}")
    if layout == "fasttext":
        return fasttext_file.write(model, out)
    words, vectors = list(model.tokenizer.pieces), model.vectors
    if layout == "spacy":
        spacy_folder.write(words, vectors, out)
        again, table = spacy_folder.read(out)
    else:
        _write(words, vectors, out, binary=layout == "word2vec-binary", header=layout != "glove")
        again, table = (read_glove if layout == "glove" else read_word2vec)(out)
    if again != words or not np.array_equal(table, vectors):
        raise ArtefactError("what was written does not read back as it was", file=out)
    return f"{out}: {len(words):,} words of {vectors.shape[1]} numbers, read back and equal"


def _write(words: Sequence[str], vectors: Table, out: Path, *, binary: bool, header: bool) -> None:
    wrong = [word for word in words if not word or any(c.isspace() for c in word)]
    if wrong:
        raise UsageError(f"{len(wrong)} words contain white space, which this layout cannot hold, e.g. {wrong[0]!r}")
    with open(out, "wb") as file:
        if header:
            file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, row in zip(words, vectors, strict=True):
            file.write(word.encode() + b" ")
            file.write(row.astype("<f4").tobytes() if binary else " ".join(map(repr, row.tolist())).encode())
            file.write(b"\n")


# ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_vectors(source: Path) -> bool:
    """Whether `source` holds vectors of another program: any file, or a folder of spaCy's."""
    return source.is_file() or spacy_folder.find(source) is not None


def from_vectors(source: Path, out: Path) -> str:
    """Turn another program's vectors into a Pretrained folder; compare after reopening."""
    model = as_pretrained(source)
    made = model.save(out)
    table, words = model.vectors, list(model.tokenizer.pieces)
    if not np.array_equal(made.vectors, table) or list(made.tokenizer.pieces) != words:
        raise ArtefactError("what was written does not read back as it was", file=out)
    return f"{out}: {len(words) - 1:,} words of {table.shape[1]} numbers, read back and equal"


def open_vectors(source: Path, name: str = "word2vec") -> Pretrained:
    """What a run of the family `name` may go on from: a foretext folder, or another program's vectors, which count as the
    folder that `convert` makes of them. Vectors whose file says no more than words and numbers are `name`'s own where
    that family can go on from these alone, else word2vec's. Errors: as `load_pretrained`'s and `as_pretrained`'s."""
    if is_sealed(source) or not is_vectors(source):
        return load_pretrained(source)
    return as_pretrained(source, name if family(name).bare else "word2vec")


def named_vectors(recipe: Recipe) -> Pretrained | None:
    """The vectors of another program that `recipe.init_embeddings` names, opened; None where it names none. Errors: a family
    without vectors → UsageError, and `as_pretrained`'s."""
    name = recipe.init_embeddings
    if name in WORDS or name.startswith(KEY) or is_sealed(Path(name)) or not is_vectors(Path(name)):
        return None
    require(recipe.family.name, "encode", "init_embeddings")
    return as_pretrained(Path(name))


def as_pretrained(source: Path, name: str = "word2vec") -> Pretrained:
    """Another program's vectors as a model in memory, words in their order there, after "[UNK]" with a row of zeros
    where they have none; of the family `name` where the file does not say. Its key is that of the folder which
    `from_vectors` makes. Errors: no such file → UsageError; damaged → ArtefactError with its place; more than the
    memory there is → ResourceError. Memory is bounded by the file's own size, whatever it claims."""
    if not source.exists():
        raise no_file(source)
    if source.is_file() and fasttext_file.is_one(source):
        found = fasttext_file.read(source)
        return _model("fasttext-imported", found.config, found.words, found.counts, found.arrays, source)
    words, table = read_vectors(source)
    config = resolve(family(name).config)(width=table.shape[1])
    return _model(f"{name}-imported", config, words, None, {STATIC_TABLE: table}, source)


def _model(
    name: str, config: FamilyConfig, words: list[str], counts: Sequence[int] | None, made: dict[str, Table], source: Path
) -> Pretrained:
    tokenizer, order = _lexicon(words, counts, unseen=family(config.name).spelling is not None)
    arrays: dict[str, Table] = {}
    for key in list(made):
        whole = made.pop(key)  # one table at a time is held twice
        arrays[key] = _with_unknown(whole, order) if key.endswith("table.weight") else whole
    recipe = Recipe(name=name, family=config, tokenizer=tokenizer.config)
    came = Provenance(corpus=digest(source), recipe=recipe.key(), machine=machine())
    model = Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=arrays, provenance=came, path=source)
    return replace(model, key=model.content_key())


def _lexicon(words: list[str], counts: Sequence[int] | None, *, unseen: bool) -> tuple[ChunkTokenizer, int]:
    """The tokenizer, and where "[UNK]" stands among the words, −1 if it does not."""
    lowercase = not any(word != word.lower() for word in words)
    config = TokenizerConfig(kind="words", lowercase=lowercase, strip_accents=False, chinese="words", special=(_UNKNOWN,))
    if unseen:
        config = replace(config, unseen="spelling")
    at = words.index(_UNKNOWN) if _UNKNOWN in words else -1
    pieces = [_UNKNOWN, *(word for word in words if word != _UNKNOWN)]
    numbers = [0] * len(words) if counts is None else list(counts)
    if at < 0:
        numbers = [0, *numbers]
    else:
        numbers.insert(0, numbers.pop(at))
    return ChunkTokenizer(config, Whole(pieces, numbers, 1, 0)), at


def _with_unknown(table: Table, at: int) -> Table:
    """Row `at` first; −1: a row of zeros first, for words outside the file."""
    if at == 0:
        return table
    if at > 0:
        return table[[at, *range(at), *range(at + 1, len(table))]]
    return np.concatenate([np.zeros((1, table.shape[1]), np.float32), table])


def read_vectors(source: Path) -> tuple[list[str], Table]:
    """Words and vectors [V, D] of a word2vec or GloVe file or a spaCy folder. Errors as `as_pretrained`'s."""
    folder = spacy_folder.find(source)
    if folder is not None:
        return spacy_folder.read(folder)
    if not source.is_file():
        raise UsageError("neither a file nor a folder of vectors", file=source)
    with open(source, "rb") as file:
        line = file.readline(1 << 20)
    if line.startswith(_PICKLES):
        raise ArtefactError(
            "a pickle, which could run any program: it is not opened", file=source,
            remedy="in gensim: KeyedVectors.load(FILE).save_word2vec_format(OUT, binary=True)",
        )  # fmt: skip
    parts = line.split()
    return read_word2vec(source) if len(parts) == 2 and all(part.isdigit() for part in parts) else read_glove(source)


def read_word2vec(source: Path) -> tuple[list[str], Table]:
    """Words and vectors [V, D] of a word2vec file. Errors: missing → UsageError; damaged → ArtefactError with place."""
    if not source.is_file():
        raise no_file(source)
    with open(source, "rb") as file:
        count, width = _header(file, source)
        start = file.tell()
        binary = _is_binary(file, width)
        if binary and count * (4 * width + 2) > source.stat().st_size:
            raise _claims(count, width, source)
        rows = _binary(file, count, width, source) if binary else _text(file, count, width, source, 2)
        file.seek(start)
        return _fill(rows, count, width, source)


def read_glove(source: Path) -> tuple[list[str], Table]:
    """Words and vectors [V, D] of lines "word number … number"; a word may hold spaces, as a few of GloVe's own do. The
    first line says how many numbers. Errors as `read_word2vec`'s."""
    if not source.is_file():
        raise no_file(source)
    with open(source, "rb") as file:
        width = _trailing_numbers(file.readline(32 * MOST_WIDTH))
        if width < 1:
            raise ArtefactError(
                "expected a header of two numbers, or a word and its numbers", file=source, place="line 1",
                remedy="read are word2vec, GloVe and fastText files and spaCy folders",
            )  # fmt: skip
        file.seek(0)
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        file.seek(-1, 2)
        lines += file.read(1) != b"\n"
        if lines * 2 * width > source.stat().st_size:
            raise ArtefactError(f"{lines} lines are too many for {width} numbers each, as in the first", file=source)
        file.seek(0)
        return _fill(_text(file, lines, width, source, 1), lines, width, source)


def _trailing_numbers(line: bytes) -> int:
    """How many numbers follow the word of a line; the word itself may look like one."""
    parts = line.rstrip(b"\r\n ").split(b" ")
    count = 0
    while count < len(parts) - 1 and count < MOST_WIDTH and _is_number(parts[-1 - count]):
        count += 1
    return count


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _fill(rows: "Iterator[tuple[str, Table]]", count: int, width: int, source: Path) -> tuple[list[str], Table]:
    require_room(4 * count * width, source)
    words, table = [], np.empty((count, width), np.float32)
    for number, (word, row) in enumerate(rows):
        words.append(word)
        table[number] = row
    check(words, table, source)
    return words, table


def _claims(count: int, width: int, source: Path) -> ArtefactError:
    size = source.stat().st_size
    return ArtefactError(
        f"the header claims {count} words of {width} numbers, the file has {size:,} bytes", file=source, place="line 1"
    )


def _header(file: BinaryIO, source: Path) -> tuple[int, int]:
    line = file.readline(100)
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ArtefactError(f"expected a header of two numbers, found {line[:40]!r}", file=source, place="line 1")
    count, width = int(parts[0]), int(parts[1])
    # A row takes at least a word byte, a space and two bytes a number, so a header cannot claim more than the file has.
    if not 0 < width <= MOST_WIDTH or not 0 < count * (2 * width) <= source.stat().st_size:
        raise _claims(count, width, source)
    return count, width


def _is_binary(file: BinaryIO, width: int) -> bool:
    start = file.tell()
    line = file.readline(64 * width + LONGEST_WORD)
    file.seek(start)
    parts = line.split()
    return not all(map(_is_number, parts[1:])) or len(parts) != width + 1


def _text(file: BinaryIO, count: int, width: int, source: Path, first: int) -> Iterator[tuple[str, Table]]:
    for number in range(count):
        place = f"line {number + first}"
        parts = file.readline(64 * MOST_WIDTH).rstrip(b"\r\n ").split(b" ")
        if len(parts) != width + 1 and (first == 2 or len(parts) < width + 1):
            raise ArtefactError(f"expected a word and {width} numbers, found {len(parts)} parts", file=source, place=place)
        try:
            yield b" ".join(parts[:-width]).decode(), np.array([float(part) for part in parts[-width:]], np.float32)
        except (UnicodeDecodeError, ValueError) as error:
            raise ArtefactError(str(error), file=source, place=place) from error


def _binary(file: BinaryIO, count: int, width: int, source: Path) -> Iterator[tuple[str, Table]]:
    for number in range(count):
        place, word = f"word {number + 1}", bytearray()
        while (byte := file.read(1)) != b" ":
            if not byte or len(word) > LONGEST_WORD:
                raise ArtefactError("the file ends, or goes astray, inside a word", file=source, place=place)
            if byte != b"\n":  # word2vec.c ends each row with a newline, others do not
                word += byte
        raw = file.read(4 * width)
        if len(raw) != 4 * width:
            raise ArtefactError(f"the file ends inside a vector: {len(raw)} of {4 * width} bytes", file=source, place=place)
        try:
            yield word.decode(), np.frombuffer(raw, "<f4")
        except UnicodeDecodeError as error:
            raise ArtefactError(str(error), file=source, place=place) from error
