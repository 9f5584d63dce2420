"""foretext: raw text to pretrained language models, and those to working classifiers.

The words of the command line are the words here: `pretrain`, `extend`, `transfer`, `load`, and `neighbors`, `analogy`,
`similarity`, `evaluate_vectors` for word vectors; a loaded `Pretrained` encodes, a
loaded `Adapted` predicts. Everything heavy is imported at the first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from foretext.errors import ExitCode, ForetextError

if TYPE_CHECKING:
    from foretext.adapted import Adapted
    from foretext.api import analogy, evaluate_vectors, extend, load, neighbors, pretrain, similarity, transfer
    from foretext.bundle import Pretrained

__all__ = [
    "Adapted", "ExitCode", "ForetextError", "Pretrained", "analogy", "evaluate_vectors", "extend", "load", "neighbors", "pretrain",
    "similarity", "transfer",
]

_WHERE = {
    "analogy": "foretext.api",
    "evaluate_vectors": "foretext.api",
    "extend": "foretext.api",
    "load": "foretext.api",
    "neighbors": "foretext.api",
    "pretrain": "foretext.api",
    "similarity": "foretext.api",
    "transfer": "foretext.api",
    "Pretrained": "foretext.bundle",
    "Adapted": "foretext.adapted",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'foretext' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
