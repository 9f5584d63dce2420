"""The peer: Hugging Face's BertForMaskedLM under its Trainer, over the same sequences.

Nothing of the Trainer is replaced. A callback stops it between two steps to take turns with the other sides, and a hook
before the model's forward pass counts the real tokens that the model was given.

"stock": the Trainer's defaults (random order, padding to the longest of the batch, dropout 0.1), batch size apart.
"tuned": batches grouped by length, no dropout.
"""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.protocol import Channel, Clock, Request
from benchmarks.texts import Material, open_material, sequences
from foretext.text.tokenizers import load_tokenizer
from foretext.training.allocator import keep_large_buffers

NAMES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def missing() -> str:
    """Why the peer cannot be run here, or nothing."""
    from importlib.util import find_spec

    absent = [name for name in ("transformers", "accelerate") if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def quiet() -> None:
    """The libraries' progress bars and advice would fill the terminal."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="transformers|accelerate|torch")


def tokenizer(folder: Path) -> Any:
    """Our vocabulary as a fast Hugging Face tokenizer: BERT's normaliser, splitter and WordPiece."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ours = load_tokenizer(folder)
    numbers = {piece: number for number, piece in enumerate(ours.pieces)}
    made = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=ours.config.lowercase
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, numbers[name]) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.BertProcessing(ends[1], ends[0])
    return PreTrainedTokenizerFast(tokenizer_object=made, **{f"{kind}_token": name for kind, name in NAMES.items()})


def rows(made: Material) -> list[dict[str, Any]]:
    """The sequences as the data collator takes them, [CLS] and [SEP] around each. A plain list costs the Trainer less
    than a `datasets.Dataset` would."""
    special = load_tokenizer(made.folder / "tokenizer").special
    first, last = special["[CLS]"], special["[SEP]"]
    found = []
    for ids in sequences(made):
        inner = ids.tolist()
        ends = [1, *[0] * len(inner), 1]
        found.append({"input_ids": [first, *inner, last], "special_tokens_mask": ends})
    return found


def model(spec: dict[str, Any], made: Material) -> Any:
    """BertForMaskedLM of the benchmark's size."""
    from transformers import BertConfig, BertForMaskedLM

    size = spec["size"]
    rate = 0.0 if spec.get("tuned") else 0.1
    config = BertConfig(
        vocab_size=made.vocabulary,
        hidden_size=size["width"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        intermediate_size=size["inner"],
        max_position_embeddings=made.longest,
        hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate,
        pad_token_id=load_tokenizer(made.folder / "tokenizer").special["[PAD]"],
    )
    return BertForMaskedLM(config)


def trainer(spec: dict[str, Any], made: Material, folder: Path, *, steps: int, callbacks: list[Any]) -> Any:
    """The Trainer of `spec`: `precision`, `tuned`, `rows`, `rate`, `warmup`, `masked`; fields not named are its own
    defaults. `rows` None and `rate` None: its defaults for these too."""
    import torch
    from transformers import DataCollatorForLanguageModeling, PrinterCallback, Trainer, TrainingArguments

    quiet()
    torch.manual_seed(spec.get("seed", 0))
    chosen: dict[str, Any] = {}
    if spec.get("rows"):
        chosen["per_device_train_batch_size"] = spec["rows"]
    if spec.get("rate"):
        chosen["learning_rate"] = spec["rate"]
    if spec.get("warmup"):
        chosen["warmup_steps"] = spec["warmup"]
    if spec.get("tuned"):
        chosen["train_sampling_strategy"] = "group_by_length"
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        bf16=spec["precision"] == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=spec.get("seed", 0),
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **chosen,
    )
    collator = DataCollatorForLanguageModeling(tokenizer(made.folder / "tokenizer"), mlm_probability=spec["masked"])
    whole = Trainer(
        model=model(spec, made), args=arguments, data_collator=collator, train_dataset=rows(made), callbacks=callbacks
    )
    whole.remove_callback(PrinterCallback)
    return whole


def mlm(spec: dict[str, Any], channel: Channel) -> None:
    """A side: the Trainer's steps; units are real tokens."""
    import torch
    from transformers import TrainerCallback

    if spec.get("buffers"):
        keep_large_buffers()
    torch.set_num_threads(spec.get("threads", 1))
    cuda = torch.cuda.is_available()

    class Turns(TrainerCallback):  # type: ignore[misc]
        """Waits for a request before the first step and between rounds."""

        def __init__(self) -> None:
            self.request: Request | None = None
            self.clock, self.steps = Clock(), 0
            self.masks: list[Any] = []

        def begin(self, control: Any) -> None:
            self.request = channel.next()
            control.should_training_stop = self.request is None
            self.clock, self.steps = Clock(cuda), 0
            self.masks.clear()

        def count(self, _module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
            self.masks.append(kwargs["attention_mask"].sum())  # read when the round is over: no wait for a device here

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            channel.ready(precision=spec["precision"])
            self.begin(control)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.steps += 1
            if self.request is not None and self.request.over(self.clock, self.steps):
                done = self.clock.read(0, self.steps)
                channel.answer(replace(done, units=int(sum(self.masks))))
                self.begin(control)

    turns = Turns()
    with tempfile.TemporaryDirectory() as folder:
        made = open_material(spec["material"])
        whole = trainer(spec, made, Path(folder), steps=10_000_000, callbacks=[turns])
        whole.model.register_forward_pre_hook(turns.count, with_kwargs=True)
        whole.train()
