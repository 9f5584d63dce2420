"""Every parser that reads bytes of strangers: name → valid inputs, and a call that parses any bytes.

Shared by the short run with hypothesis (test_fuzz.py) and the long one with atheris (run.py). A call may raise a
ForetextError; anything else that it raises is a find, and so is a call that takes more than a second.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zstandard

from foretext.bundle import SOURCE, Pretrained, read_pretrained
from foretext.config import override, read_toml
from foretext.errors import ForetextError
from foretext.folder import open_sealed, read_arrays, read_json, write_json, write_record
from foretext.interop import fasttext_file, spacy_folder
from foretext.interop.vectors import read_glove, read_vectors, read_word2vec
from foretext.ladder.config import read_grid
from foretext.models.bert.config import BertConfig
from foretext.models.word2vec.config import Word2VecConfig
from foretext.recipe import Recipe, to_json
from foretext.recipes import find
from foretext.resuming import read_plan
from foretext.tasks.base import read_labelled
from foretext.tasks.classify import ClassifyConfig, settle
from foretext.tasks.tables import read_texts
from foretext.text.corpus import CorpusConfig, open_corpus, strings_corpus
from foretext.text.tokenizers import TokenizerConfig, load_tokenizer, train_tokenizer
from foretext.training.alarms import Alarms
from foretext.training.config import Limits
from foretext.training.log import Log
from foretext.training.run import checked
from foretext.types import Text

TEXT = "The river runs. “Yes”, he said.\n\nA second paragraph: 3.5 km.\n\n今天天气很好。他说：“好！”我们走吧……\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`call` parses bytes; `seeds` makes inputs that it accepts; `words`: pieces of its grammar, for mutations; `seconds`: of
    processor time, that an input may take under atheris, whose counting of branches makes code some six times as slow."""

    name: str
    call: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...] = ()
    seconds: int = 1


@cache
def scratch() -> Path:
    """A folder in memory where there is one: a million inputs are a million files."""
    shared = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="foretext-fuzz-", dir=shared if shared.is_dir() else None)
    import atexit

    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def put(name: str, data: bytes) -> Path:
    """`data` as the scratch file `name`."""
    file = scratch() / name
    file.write_bytes(data)
    return file


# ── corpora ─────────────────────────────────────────────────────────────────────────────────────────────────────────

DUMP = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><siteinfo><namespaces><namespace key="6">Datei</namespace>'
    "</namespaces></siteinfo><page><title>A</title><ns>0</ns><id>7</id><revision><id>9</id><text>'''Alpha''' is a [[letter|Greek "
    "letter]].{{cite|x}}&lt;ref&gt;no&lt;/ref&gt;\n\n== Head ==\n* item\n{| class=x\n| cell\n|}\nIt comes first.</text></revision></page>"
    '<page><title>B</title><ns>0</ns><redirect title="A"/><revision><text>#REDIRECT [[A]]</text></revision></page></mediawiki>'
)
DOC = '<doc id="1" url="?curid=1" title="Tom &amp; Co">\nTom &amp; Co\n\nTom &lt;3 Co. They met.\n\n</doc>\n<doc id="2" title="Stub">\nStub\n</doc>\n'
JSONL = '{"text": "a boat. \\u4eca\\u5929", "id": 1}\n{"text": ["one", "two"], "id": 2}\n{"text": null}\n'
CSV = 'id,text,label\n1,"a ""fine"" day, really",good\n2,"two\nlines",bad\n3,今天天气很好,good\n'
TSV = 'text\tlabel\na fine day\tgood\n"whole ""cell"" quoted"\tbad\nbare " quote\tgood\n'


def corpus(name: str, errors: str = "strict") -> Callable[[bytes], object]:
    """Open a file of this name as a corpus and read every sentence."""

    def call(data: bytes) -> int:
        read = open_corpus([put(name, data)], CorpusConfig(encoding_errors=errors))  # type: ignore[arg-type]
        count = 0
        for sentence in read.sentences():
            sentence.string.encode()  # no lone surrogate comes through
            count += bool(sentence.string)
        assert count, "a corpus without text must be refused"
        return count

    return call


def packers() -> Mapping[str, Callable[[bytes], bytes]]:
    """Compression suffix → compress."""
    return {"gz": lambda d: gzip.compress(d, mtime=0), "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}


def parquet_bytes() -> Iterator[bytes]:
    """Two small parquet files, where pyarrow is installed."""
    import pyarrow
    import pyarrow.parquet

    for compression in ("none", "snappy"):
        out = io.BytesIO()
        table = pyarrow.table({"text": ["a boat.", "今天天气很好。", "x" * 50, "y"], "label": ["a", "b", "a", "b"], "n": [1, 2, 3, 4]})
        pyarrow.parquet.write_table(table, out, compression=compression)
        yield out.getvalue()


# ── labelled files ──────────────────────────────────────────────────────────────────────────────────────────────────


def labelled(name: str, *, header: bool = True) -> Callable[[bytes], object]:
    """Read a labelled file of this name and settle the task on it."""

    def call(data: bytes) -> object:
        read = read_labelled(put(name, data), header=header)
        assert len(read.texts) == len(read.labels) == len(read.lines) > 0
        return settle(ClassifyConfig(header=header), read).gold(read)

    return call


def texts(name: str) -> Callable[[bytes], object]:
    """Read the texts of a file that is to be predicted."""
    return lambda data: [text.encode("utf-8", "surrogatepass") for text in read_texts(put(name, data))]


# ── configuration ───────────────────────────────────────────────────────────────────────────────────────────────────

TOML = (
    b'seed = 3\nheld_out = 0.02\n[family]\nlayers = 2\nwidth = 32\nheads = 2\ndropout = 0.1\n[optimizer]\nrate = 1e-4\nbetas = [0.9, 0.98]\n'
    b'[schedule]\nshape = "linear"\nwarmup_steps = 10\n[batch]\nrows = 8\n[limits]\nminutes = 2.5\n[[phases]]\nshare = 1.0\nrates = {"" = 1.0}\n'
    b'[objectives.masked]\nrate = 0.3\n[tokenizer]\nkind = "bpe"\nsize = 4000\nspecial = ["[PAD]", "[UNK]"]\n[windows]\nlength = 64\n'
)
VECTORS = b'name = "my word2vec"\nseed = 1\n[family]\nwidth = 50\nmin_count = 2\nsample = 1e-4\nmethod = "pairs"\n[tokenizer]\nmost_words = 1000\n'
TRANSFER = b'[strategy]\nrate = 2e-5\nepochs = 3\nlayers = "mix"\nunfreeze = "gradual"\n[task]\nmulti = false\ntext = "body"\nfit = {policy = "cut", stride = 3}\n'
GRID = (
    b'corpus = ["texts/*.txt"]\ntrain = "train.csv"\ntest = "test.csv"\nrungs = ["word2vec", "bert-budget"]\nlabels = [5, 20]\nminutes = 1.5\n'
    b'[how]\nword2vec = ["features"]\n[settings.bert-budget.family]\nlayers = 2\n[strategies.finetune]\nepochs = 5\n[reading]\nlanguage = "en"\n'
)


def recipe_toml(data: bytes) -> object:
    """A TOML file over a recipe: BERT's, or where it says so word2vec's."""
    values = read_toml(put("r.toml", data))
    return override(find("word2vec" if "word2vec" in str(values.get("name")) else "bert-budget"), values, file="r.toml").key()


def strategy_toml(data: bytes) -> object:
    """A TOML file over a strategy and a task."""
    from foretext.api import settle_transfer

    return settle_transfer("finetune", config=put("s.toml", data))


def grid_toml(data: bytes) -> object:
    """A ladder's GRID.toml."""
    return read_grid(put("grid.toml", data))


# ── folders that we write ───────────────────────────────────────────────────────────────────────────────────────────

KINDS = ("wordpiece", "bpe", "unigram", "words")
_SPECIAL = {"words": ("[UNK]",)}


@cache
def tokenizer_folder(kind: str) -> Path:
    """A small tokenizer on disk."""
    folder = scratch() / f"tokenizer-{kind}"
    folder.mkdir()
    size = {"bpe": 300}.get(kind, 60)
    config = TokenizerConfig(kind=kind, size=size, special=_SPECIAL.get(kind, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")))  # type: ignore[arg-type]
    train_tokenizer(config, strings_corpus([TEXT * 3]), workers=0).save(folder)
    return folder


def tokenizer_seeds() -> Iterator[bytes]:
    """One input a file of each kind of tokenizer: the first byte says which."""
    for number, (kind, name) in enumerate(_tokenizer_files()):
        yield bytes([number]) + (tokenizer_folder(kind) / name).read_bytes()


@cache
def _tokenizer_files() -> tuple[tuple[str, str], ...]:
    return tuple((kind, file.name) for kind in KINDS for file in sorted(tokenizer_folder(kind).iterdir()))


def tokenizer(data: bytes) -> object:
    """Put the bytes in place of one file of a tokenizer folder, with the recorded key made to fit as a forger would;
    then load it and encode."""
    from foretext.text.tokenizers.chunked import ChunkTokenizer
    from foretext.text.tokenizers.files import read_files

    files = _tokenizer_files()
    kind, name = files[(data[0] if data else 0) % len(files)]
    folder = scratch() / "tokenizer"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tokenizer_folder(kind), folder)
    (folder / name).write_bytes(data[1:])
    try:
        return load_tokenizer(folder)
    except ForetextError:
        config, spelling, _ = read_files(folder)
        forged = ChunkTokenizer(config, spelling)
        return forged.encode([Text(string=TEXT)]), forged.decode([0])


@cache
def pretrained_folder(family: str) -> Path:
    """A small Pretrained with arrays of no meaning: what is read is checked, not computed."""
    folder = scratch() / f"pretrained-{family}"
    config: Any = BertConfig(layers=1, width=8, heads=2, inner=8, positions=16) if family == "bert" else Word2VecConfig(width=4)
    kind = "wordpiece" if family == "bert" else "words"
    token = load_tokenizer(tokenizer_folder(kind))
    recipe = Recipe(name=f"tiny-{family}", family=config, tokenizer=token.config, objectives=find("bert-mini").objectives if family == "bert" else {})
    arrays = {f"encoders.{SOURCE}.table.weight": np.zeros((token.size, 4), np.float32), "heads.a.b": np.ones((3,), np.float32)}
    Pretrained(recipe=recipe, tokenizers={SOURCE: token}, arrays=arrays).save(folder)
    return folder


_PARTS = ("recipe.json", "provenance.json", "weights.safetensors")


def pretrained_seeds() -> Iterator[bytes]:
    """One input a file: the first byte says which."""
    for number, (family, name) in enumerate((f, n) for f in ("bert", "word2vec") for n in _PARTS):
        yield bytes([number]) + (pretrained_folder(family) / name).read_bytes()


def pretrained(data: bytes) -> object:
    """Put the bytes in place of one file of a Pretrained (as a forger who seals it anew), and read the folder."""
    number = (data[0] if data else 0) % 6
    family, name = ("bert", "word2vec")[number // 3], _PARTS[number % 3]
    folder = scratch() / "pretrained"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pretrained_folder(family), folder)
    (folder / name).write_bytes(data[1:])
    found = read_pretrained(folder)
    return found.recipe.key(), to_json(found.recipe), found.provenance


def manifest_seeds() -> Iterator[bytes]:
    """A manifest as it stands (0), and its body alone (1), which the call seals."""
    raw = (pretrained_folder("bert") / "foretext.json").read_bytes()
    yield b"\x00" + raw
    yield b"\x01" + bytes(msgspec.json.decode(raw, type=dict[str, msgspec.Raw])["manifest"])


def manifest(data: bytes) -> object:
    """Open a sealed folder with this manifest."""
    folder = scratch() / "sealed"
    if not folder.exists():
        shutil.copytree(pretrained_folder("bert"), folder)
    body = data[1:]
    if data[:1] == b"\x01":
        body = b'{"seal":"' + hashlib.sha256(body).hexdigest().encode() + b'","manifest":' + body + b"}\n"
    (folder / "foretext.json").write_bytes(body)
    return open_sealed(folder)


def arrays_seeds() -> Iterator[bytes]:
    """A safetensors file of three arrays."""
    from safetensors.numpy import save

    yield save({"a": np.ones((2, 3), np.float32), "b": np.arange(4), "c": np.zeros((0,), np.float16)})


def cursor_seeds() -> Iterator[bytes]:
    """Where a run stands."""
    shell = {"step": 3, "evaluated": 2, "losses": {"loss": 1.5}, "best_loss": 1.5, "best_step": 2, "best_losses": {}, "best_saved": None,
             "worse": 0, "early": False, "seconds": 1.0, "saving": 0.1}  # fmt: skip
    log = {"steps": 1, "loss": 2.0, "parts": {"a loss": [1.0, 2]}, "tokens": 50}
    yield json.dumps({"total": 9, "shell": shell, "log": log, "alarms": {"said": ["spike"], "norms": [1.0]}, "stepper": {"done": 3}}).encode()


def cursor(data: bytes) -> object:
    """Read a checkpoint's cursor as a resuming run does."""
    from foretext.folder import read_json

    found = checked(read_json(put("cursor.json", data)), scratch())
    Log(scratch() / "log.jsonl", 9).restore(found["log"])
    Alarms(None).restore(found["alarms"])
    return found


def plan_seeds() -> Iterator[bytes]:
    """What a run wrote down before its first step."""
    file = scratch() / "plan.json"
    write_json(file, {"corpus": "a", "recipe_key": "b", "store": "c", "source": "", "recipe": to_json(find("bert-mini")), "steps": 5,
                      "precision": "fp32", "limits": msgspec.to_builtins(Limits(steps=5)), "why": "as asked", "machine": {}})  # fmt: skip
    yield file.read_bytes()


def plan(data: bytes) -> object:
    """Any JSON that is sealed as a plan; what is none fails at its seal."""
    file = put("run.json", data)
    try:
        write_record(file, read_json(file))
    except ForetextError:
        file.write_bytes(data)
    return read_plan(file)


# ── vectors of other programs ───────────────────────────────────────────────────────────────────────────────────────


def fasttext_seeds() -> Iterator[bytes]:
    """A .bin of three words and five buckets, and one without n-grams."""
    for bucket, max_n in ((5, 4), (0, 0)):
        words = b"".join(word.encode() + b"\0" + struct.pack("<qb", 3, 0) for word in ("a", "bc", "河"))
        rows = [struct.pack("<b2q", 0, n, 2) + np.arange(2 * n, dtype="<f4").tobytes() for n in (3 + bucket, 3)]
        args = struct.pack("<12id", 2, 5, 5, 5, 5, 1, 2, 2, bucket, 3, max_n, 100, 1e-4)
        yield struct.pack("<2i", fasttext_file.MAGIC, 12) + args + struct.pack("<3i2q", 3, 3, 0, 9, -1) + words + b"".join(rows)


@cache
def spacy_parts() -> Path:
    """A small folder of spaCy's."""
    folder = scratch() / "spacy-good"
    spacy_folder.write(["a", "bc", "河"], np.arange(6, dtype=np.float32).reshape(3, 2), folder)
    return folder


def spacy_seeds() -> Iterator[bytes]:
    """One input a file: the first byte says which."""
    for number, file in enumerate(sorted(spacy_parts().iterdir())):
        yield bytes([number]) + file.read_bytes()


def spacy(data: bytes) -> object:
    """Put the bytes in place of one file of the folder, and read it."""
    names = sorted(file.name for file in spacy_parts().iterdir())
    folder = scratch() / "spacy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(spacy_parts(), folder)
    (folder / names[(data[0] if data else 0) % len(names)]).write_bytes(data[1:])
    return spacy_folder.read(folder)


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────

_UTF8 = ("\ufeff".encode(), b"\x00", b"\r\n", b"\xff", b"\xed\xa0\x80", "\u2028".encode(), "\U0001f3fb".encode(), b"\xf0\x9f")
_JSON = (b'"', b"\\ud800", b"\\u0000", b"NaN", b"-", b"1e999", b"[" * 300, b'{"a":' * 300, b"null", b"9" * 400, b"true", b"{}", b"[]")
_NUMBERS = (b"\x00" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x01\x00\x00\x00", b"\x00\x00\xc0\x7f")
_TOML = (b"[[", b"]]", b"[a.b]\n", b"'''", b'"""', b"nan", b"-inf", b"1e400", b"9" * 5000, b"1979-05-27", b"true", b"{}", b"=", b"[" * 2000, b"-1", b"0x")


def _text(name: str, seed: str, words: tuple[bytes, ...]) -> Target:
    return Target(name=f"corpus {name}", call=corpus(name), seeds=lambda: [seed.encode()], words=(*_UTF8, *words))


MOST_UNPACKED = 1 << 18
"""Bytes of text that an input of packed data may hold. A hundred bytes of bz2 hold megabytes of line feeds, which are read in a time
in proportion; what many more do is the matter of the tests of bombs."""


def _packed(suffix: str) -> Target:
    pack, read = packers()[suffix], corpus(f"a.txt.{suffix}")
    return Target(
        name=f"corpus txt.{suffix}",
        call=lambda data: None if suffix == "bz2" and _unpacked(data) > MOST_UNPACKED else read(data),
        seeds=lambda: [pack(TEXT.encode()), pack(b"a. " * 9) + pack(b"b")],
        seconds=5,
    )


def _unpacked(data: bytes) -> int:
    """Bytes that bz2 `data` holds, stream by stream, as far as they can be read and matter."""
    size = 0
    while data and size <= MOST_UNPACKED:
        stream = bz2.BZ2Decompressor()
        try:
            while not stream.eof and size <= MOST_UNPACKED and (part := stream.decompress(data, 1 << 16)):
                size, data = size + len(part), b""
        except (OSError, ValueError):
            break
        data = stream.unused_data
    return size


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        _text("a.txt", TEXT, (b"\n\n", b" = H = \n")),
        Target(name="corpus replace", call=corpus("b.txt", "replace"), seeds=lambda: [TEXT.encode(), b"a \xff b"], words=_UTF8),
        _text("a.jsonl", JSONL, _JSON),
        _text("a.csv", CSV, (b'"', b'""', b",", b";", b"\t", b"|")),
        _text("a.tsv", TSV, (b'"', b'""', b"\t")),
        _text("a.xml", DUMP, (b"<page>", b"</page>", b"<!--", b"{{", b"}}", b"[[", b"&amp;", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;", b"{|")),
        _text("wiki_00.txt", DOC, (b'<doc title="', b"</doc>", b"&#1114112;", b"&#xD800;", b"&")),
        *(_packed(suffix) for suffix in packers()),
        Target(name="corpus a.parquet", call=corpus("a.parquet"), seeds=parquet_bytes),
        Target(name="labelled a.csv", call=labelled("l.csv"), seeds=lambda: [CSV.encode()], words=(*_UTF8, b'"', b'""', b",", b"\n")),
        Target(name="labelled a.tsv", call=labelled("l.tsv", header=False), seeds=lambda: [TSV.encode()], words=(*_UTF8, b'"', b"\t", b"\n")),
        Target(
            name="labelled a.jsonl",
            call=labelled("l.jsonl"),
            seeds=lambda: [b'{"text": "x", "label": "a", "id": 1}\n{"text": "y", "label": ["a", "b"], "id": 2.5}\n'],
            words=_JSON,
        ),
        Target(name="labelled a.parquet", call=labelled("l.parquet"), seeds=parquet_bytes),
        Target(name="texts a.csv.gz", call=texts("t.csv.gz"), seeds=lambda: [gzip.compress(CSV.encode(), mtime=0)]),
        Target(name="texts a.txt", call=texts("t.txt"), seeds=lambda: [TEXT.encode()], words=_UTF8),
        Target(name="toml recipe", call=recipe_toml, seeds=lambda: [TOML, VECTORS], words=_TOML),
        Target(name="toml strategy", call=strategy_toml, seeds=lambda: [TRANSFER], words=_TOML),
        Target(name="toml grid", call=grid_toml, seeds=lambda: [GRID], words=_TOML),
        Target(name="tokenizer", call=tokenizer, seeds=tokenizer_seeds, words=(*_UTF8, *_JSON, b" ", b"\n", b"##")),
        Target(name="pretrained", call=pretrained, seeds=pretrained_seeds, words=_JSON),
        Target(name="manifest", call=manifest, seeds=manifest_seeds, words=(*_JSON, b"../", b"/etc/passwd")),
        Target(name="safetensors", call=lambda data: read_arrays(put("a.safetensors", data)), seeds=arrays_seeds, words=_JSON),
        Target(
            name="word2vec",
            call=lambda data: read_word2vec(put("v.bin", data)),
            seeds=lambda: [b"2 3\na 1 2 3\nb 0.5 -1 1e-3\n", b"2 2\na " + struct.pack("<2f", 1, 2) + b"\nb " + struct.pack("<2f", 3, 4) + b"\n"],
            words=(b"nan", b"inf", b"1e999", b"9" * 30, b" ", b"\n", b"0 0", b"-1"),
        ),
        Target(
            name="glove",
            call=lambda data: read_glove(put("g.txt", data)),
            seeds=lambda: [b"a 1 2 3\nb 0.5 -1 1e-3\n", "河 1 2\n. . . 3 4".encode()],
            words=(b"nan", b"inf", b"1e999", b"9" * 30, b" ", b"\n", b"\r\n", b"\xff"),
        ),
        Target(name="fasttext", call=lambda data: fasttext_file.read(put("m.bin", data)), seeds=fasttext_seeds, words=_NUMBERS),
        Target(name="spacy", call=spacy, seeds=spacy_seeds, words=(*_JSON, *_NUMBERS, b"(1, 2)", b"'<f8'", b"'|O8'")),
        Target(name="vectors of any kind", call=lambda data: read_vectors(put("any", data)), seeds=lambda: [b"1 2\na 1 2\n", b"a 1 2\n"], words=(b"\x80\x04",)),
        Target(name="cursor", call=cursor, seeds=cursor_seeds, words=_JSON),
        Target(name="plan", call=plan, seeds=plan_seeds, words=_JSON),
    )
}


def check(target: Target, data: bytes) -> None:
    """Run one input: a result or a ForetextError of one line. Everything else goes through."""
    try:
        target.call(data)
    except ForetextError as error:
        message = error.message
    else:
        return
    assert message and "\n" not in message and "Traceback" not in message, message


__all__ = ["TARGETS", "Target", "check"]
