"""Inputs that once broke a parser: (target, bytes). A find goes here with its fix, and stays."""

FINDS: list[tuple[str, bytes]] = [
    ("toml recipe", b"[[family]]"),  # an array of tables where a record stands: TypeError of typing.Protocol
    ("toml recipe", b"objectives = 3"),
    ("toml recipe", b'name = "word2vec"\n[objectives.masked]\nrate = 0.2'),
    ("toml strategy", b"[[strategy]]"),  # a list is no mapping: TypeError
    ("toml strategy", b"task = 1"),
]
