"""BERT in Hugging Face's layout: config.json, model.safetensors, tokenizer.json, vocab.txt, tokenizer_config.json.

In: BertForPreTraining, BertForMaskedLM, BertForNextSentencePrediction, BertModel, and sentence-transformers' (whose
pooling is left to us). Out: the class that has the model's heads. An output layer with weights of its own is refused.
"""

from pathlib import Path

from foretext.bundle import Pretrained
from foretext.interop.bert import open_foreign, to_pretrained, write_foreign
from foretext.interop.layouts import HUGGING_FACE


def from_hf(source: Path) -> Pretrained:
    """The model in the folder `source`, in memory (`.save(out)` writes it); its outputs compared with the source's.

    Errors: no such folder → UsageError; a damaged or unknown file, a missing, surplus or mis-shaped tensor, another
    kind of tokenizer, outputs that differ → ArtefactError that names it.
    """
    return to_pretrained(open_foreign(Path(source), HUGGING_FACE.name))[0]


def to_hf(model: Pretrained, out: Path) -> str:
    """Write `model` into the new folder `out`, read it back and compare; what was done, in a line.

    Errors: `out` exists, or a model that is no BERT of Hugging Face's kind (norm = "pre") → UsageError naming the field.
    """
    return write_foreign(model, Path(out), HUGGING_FACE)
