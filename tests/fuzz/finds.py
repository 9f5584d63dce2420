"""Inputs that once broke a parser: (target, bytes). A find goes here with its fix, and stays."""

from fuzz.targets import DUMP

_BZ2 = bytes.fromhex(
    "425a68393141592653596c887d3b00000d110040012000200020a534198e00211846828d1a3c5dc914e14241b28e00211846"
    "828d1a3c5dc914e14241b221f4ec425a6839314159265321f4ec425a683931415926535914d0bdb200000001001000200021"
    "184682ee59265321f4ec425a683931415926535914d0bdb2000048a70a12029a17b640"
)


def dump(markup: str) -> bytes:
    """An article of this markup."""
    return DUMP.replace("'''Alpha'''", markup).encode()


FINDS: list[tuple[str, bytes]] = [
    ("toml recipe", b"[[family]]"),  # an array of tables where a record stands: TypeError of typing.Protocol
    ("toml recipe", b"objectives = 3"),
    ("toml recipe", b'name = "word2vec"\n[objectives.masked]\nrate = 0.2'),
    ("toml strategy", b"[[strategy]]"),  # a list is no mapping: TypeError
    ("toml strategy", b"task = 1"),
    # 134 bytes that become megabytes of full stops: looking for a sentence's end was quadratic in such a run
    ("corpus txt.bz2", _BZ2),
    ("corpus a.txt", b"." * 60_000 + b"a"),
    ("corpus a.txt", b"a " + b"!" * 60_000),  # the sentence splitter was quadratic too
    ("corpus a.txt", ("中" + "。" * 60_000 + "，").encode()),  # and the rule for Chinese
    ("labelled a.tsv", b"\t" * 60_000),  # so was looking for a column's name among those before it
    ("corpus a.txt", b"\n = \x01\x08    = "),  # a heading of nothing was a paragraph of nothing, and the only one
    ("corpus a.xml", dump("{{a|" * 5_000)),  # the markup parser, on templates that are never closed
    ("corpus a.xml", dump("&lt;!--" * 20_000)),  # comments and references that are never closed
    ("corpus a.xml", dump("&lt;ref&gt;" * 20_000)),
    ("labelled a.tsv", b"--2\tl2\tx"),  # a label of two minus signs and a digit was taken for a number
    ("tokenizer", b'\x02{"config": {"size": -1}, "key": ""}'),
    ("tokenizer", b"\x08" + b"9\n" * 29 + b"9" * 40 + b"\n"),  # a count that no array holds: OverflowError
]
