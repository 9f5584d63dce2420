"""How other programs name BERT's weights and settings: tables, read in both directions.

Sources: transformers, models/bert/modeling_bert.py and configuration_bert.py; google-research/bert, modeling.py and
run_pretraining.py (`get_masked_lm_output`, `get_next_sentence_output`); dbiir/UER-py, uer/{embeddings,layers,targets}
and scripts/convert_bert_from_uer_to_huggingface.py.

D width · I inner · V vocabulary · P positions · S segments
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TEXT, MASKED, NEXT = "encoders.text.", "heads.masked.", "heads.next_sentence."
BLOCK = f"{TEXT}layers.{{n}}."
TABLE = f"{TEXT}embeddings.table.weight"
POOLER = f"{TEXT}pooler."
OPTIONAL = (POOLER, MASKED, NEXT)
"""Parts that a model may lack, each whole."""

SHAPES = {
    TABLE: "VD",
    f"{TEXT}embeddings.position.weight": "PD",
    f"{TEXT}embeddings.segment.weight": "SD",
    f"{TEXT}embeddings.norm": "D",
    f"{BLOCK}attention.qkv": "DD",
    f"{BLOCK}attention.out": "DD",
    f"{BLOCK}attention_norm": "D",
    f"{BLOCK}feed_forward.inner": "ID",
    f"{BLOCK}feed_forward.out": "DI",
    f"{BLOCK}feed_forward_norm": "D",
    f"{POOLER[:-1]}": "DD",
    f"{MASKED}dense": "DD",
    f"{MASKED}norm": "D",
    f"{MASKED}bias": "V",
    f"{NEXT}out.weight": "2D",
    f"{NEXT}out.bias": "2",
}
"""Of each tensor of ours, or of the weight of each module of ours; "{n}" is the layer. Of qkv: each third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One tensor of ours and what it is called elsewhere; several of theirs stand under one another in ours (queries,
    keys, values). `shape` of each, in our orientation; `turned`: theirs is transposed; `blank`: rows of zeros that
    theirs has before the first of ours."""

    ours: str
    theirs: tuple[str, ...]
    shape: str
    turned: bool = False
    blank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One program's names.

    `mark`: only its weights have a name that begins so (after `spellings`). `tensors`, `modules`: ours → theirs;
    `dense`, `norm`: how the two tensors of a module are called. `spellings`: other names in use, (pattern,
    replacement). `copies`: theirs → the tensor of ours that it must equal where it is there. `ignored`: pattern of
    what is no weight. `settings`: ours → theirs; `fixed`: settings that may have one of these values only (None =
    absent). `base`: what a model without heads leaves off the front of its names.
    """

    name: str
    title: str
    mark: str
    tensors: Mapping[str, str]
    modules: Mapping[str, tuple[str, ...]]
    dense: tuple[str, str]
    norm: tuple[str, str]
    turned: bool = False
    blank_segments: int = 0
    spellings: tuple[tuple[str, str], ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    """Those of `copies` that the program itself writes, and so do we."""
    ignored: str = r"(?!)"
    base: str = ""
    settings: Mapping[str, str]
    activations: Mapping[str, str]
    """Theirs → ours; the first of several is written."""
    fixed: Mapping[str, tuple[Any, ...]]
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Settings that are always written."""
    file: str
    config: str
    note: str = ""
    """What a comparison by the standard equations cannot show."""

    def rows(self, layers: int) -> Iterator[Row]:
        """Every tensor of a model of `layers` blocks with all its heads."""
        for ours, theirs in self.tensors.items():
            blank = self.blank_segments if ours.endswith("segment.weight") else 0
            yield Row(ours=ours, theirs=(theirs,), shape=SHAPES[ours], blank=blank)
        for module, names in self.modules.items():
            for n in range(layers) if "{n}" in module else (0,):
                yield from self._module(module, names, n)

    def _module(self, module: str, names: tuple[str, ...], n: int) -> Iterator[Row]:
        shape, is_norm = SHAPES[module], module.endswith("norm")
        ours = module.replace("{n}", str(n))
        for leaf, called in zip(("weight", "bias"), self.norm if is_norm else self.dense, strict=True):
            yield Row(
                ours=f"{ours}.{leaf}",
                theirs=tuple(name.replace("{n}", str(n)) + called for name in names),
                shape=shape if leaf == "weight" else shape[0],
                turned=self.turned and leaf == "weight" and not is_norm,
            )


_SETTINGS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "activation": "hidden_act",
    "initial_sd": "initializer_range",
}

HUGGING_FACE = Layout(
    name="hf",
    title="Hugging Face",
    mark="bert.embeddings.",
    tensors={
        TABLE: "bert.embeddings.word_embeddings.weight",
        f"{TEXT}embeddings.position.weight": "bert.embeddings.position_embeddings.weight",
        f"{TEXT}embeddings.segment.weight": "bert.embeddings.token_type_embeddings.weight",
        f"{MASKED}bias": "cls.predictions.bias",
        f"{NEXT}out.weight": "cls.seq_relationship.weight",
        f"{NEXT}out.bias": "cls.seq_relationship.bias",
    },
    modules={
        f"{TEXT}embeddings.norm": ("bert.embeddings.LayerNorm",),
        f"{BLOCK}attention.qkv": tuple(f"bert.encoder.layer.{{n}}.attention.self.{x}" for x in ("query", "key", "value")),
        f"{BLOCK}attention.out": ("bert.encoder.layer.{n}.attention.output.dense",),
        f"{BLOCK}attention_norm": ("bert.encoder.layer.{n}.attention.output.LayerNorm",),
        f"{BLOCK}feed_forward.inner": ("bert.encoder.layer.{n}.intermediate.dense",),
        f"{BLOCK}feed_forward.out": ("bert.encoder.layer.{n}.output.dense",),
        f"{BLOCK}feed_forward_norm": ("bert.encoder.layer.{n}.output.LayerNorm",),
        POOLER[:-1]: ("bert.pooler.dense",),
        f"{MASKED}dense": ("cls.predictions.transform.dense",),
        f"{MASKED}norm": ("cls.predictions.transform.LayerNorm",),
    },
    dense=(".weight", ".bias"),
    norm=(".weight", ".bias"),
    # Models without heads have no "bert." (BertModel, sentence-transformers); the first releases say gamma and beta.
    spellings=((r"^(embeddings|encoder|pooler)\.", r"bert.\1."), (r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias")),
    base="bert.",
    copies={"cls.predictions.decoder.weight": TABLE, "cls.predictions.decoder.bias": f"{MASKED}bias"},
    ignored=r"bert\.embeddings\.(position_ids|token_type_ids)$",
    settings={**_SETTINGS, "norm_epsilon": "layer_norm_eps"},
    activations={"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu", "gelu_python": "gelu"},
    fixed={
        "model_type": (None, "bert"),
        "position_embedding_type": (None, "absolute"),
        "is_decoder": (None, False),
        "add_cross_attention": (None, False),
        "tie_word_embeddings": (None, True),
    },
    constants={"model_type": "bert", "position_embedding_type": "absolute", "tie_word_embeddings": True, "dtype": "float32"},
    file="model.safetensors",
    config="config.json",
)

GOOGLE = Layout(
    name="google",
    title="Google's BERT",
    mark="bert/embeddings/",
    tensors={
        TABLE: "bert/embeddings/word_embeddings",
        f"{TEXT}embeddings.position.weight": "bert/embeddings/position_embeddings",
        f"{TEXT}embeddings.segment.weight": "bert/embeddings/token_type_embeddings",
        f"{MASKED}bias": "cls/predictions/output_bias",
        f"{NEXT}out.weight": "cls/seq_relationship/output_weights",
        f"{NEXT}out.bias": "cls/seq_relationship/output_bias",
    },
    modules={
        f"{TEXT}embeddings.norm": ("bert/embeddings/LayerNorm",),
        f"{BLOCK}attention.qkv": tuple(f"bert/encoder/layer_{{n}}/attention/self/{x}" for x in ("query", "key", "value")),
        f"{BLOCK}attention.out": ("bert/encoder/layer_{n}/attention/output/dense",),
        f"{BLOCK}attention_norm": ("bert/encoder/layer_{n}/attention/output/LayerNorm",),
        f"{BLOCK}feed_forward.inner": ("bert/encoder/layer_{n}/intermediate/dense",),
        f"{BLOCK}feed_forward.out": ("bert/encoder/layer_{n}/output/dense",),
        f"{BLOCK}feed_forward_norm": ("bert/encoder/layer_{n}/output/LayerNorm",),
        POOLER[:-1]: ("bert/pooler/dense",),
        f"{MASKED}dense": ("cls/predictions/transform/dense",),
        f"{MASKED}norm": ("cls/predictions/transform/LayerNorm",),
    },
    dense=("/kernel", "/bias"),
    norm=("/gamma", "/beta"),
    turned=True,
    spellings=((r":0$", ""),),
    ignored=r"(global_step|.*/adam_[mv]|.*/(AdamWeightDecay|LAMB)Optimizer(_\d+)?)$",
    settings=_SETTINGS,
    # "gelu" was erf at the release and tanh in later code; everyone who loads these weights reads erf.
    activations={"gelu": "gelu", "relu": "relu"},
    fixed={},
    file="bert_model.npz",
    config="bert_config.json",
)

UER = Layout(
    name="uer",
    title="UER-py",
    mark="embedding.word.",
    tensors={
        TABLE: "embedding.word.embedding.weight",
        f"{TEXT}embeddings.position.weight": "embedding.pos.embedding.weight",
        f"{TEXT}embeddings.segment.weight": "embedding.seg.embedding.weight",
        f"{MASKED}bias": "target.mlm.linear_2.bias",
        f"{NEXT}out.weight": "target.sp.linear_2.weight",
        f"{NEXT}out.bias": "target.sp.linear_2.bias",
    },
    modules={
        f"{TEXT}embeddings.norm": ("embedding.layer_norm",),
        f"{BLOCK}attention.qkv": tuple(f"encoder.transformer.{{n}}.self_attn.linear_layers.{x}" for x in range(3)),
        f"{BLOCK}attention.out": ("encoder.transformer.{n}.self_attn.final_linear",),
        f"{BLOCK}attention_norm": ("encoder.transformer.{n}.layer_norm_1",),
        f"{BLOCK}feed_forward.inner": ("encoder.transformer.{n}.feed_forward.linear_1",),
        f"{BLOCK}feed_forward.out": ("encoder.transformer.{n}.feed_forward.linear_2",),
        f"{BLOCK}feed_forward_norm": ("encoder.transformer.{n}.layer_norm_2",),
        POOLER[:-1]: ("target.sp.linear_1",),
        f"{MASKED}dense": ("target.mlm.linear_1",),
        f"{MASKED}norm": ("target.mlm.layer_norm",),
    },
    dense=(".weight", ".bias"),
    norm=(".gamma", ".beta"),
    blank_segments=1,
    # Three generations of names; the newest is written.
    spellings=(
        (r"^embedding\.word_embedding\.", "embedding.word.embedding."),
        (r"^embedding\.position_embedding\.", "embedding.pos.embedding."),
        (r"^embedding\.segment_embedding\.", "embedding.seg.embedding."),
        (r"^target\.mlm_linear_", "target.mlm.linear_"),
        (r"^target\.layer_norm\.", "target.mlm.layer_norm."),
        (r"^target\.(nsp|sp|nsp\.|sp\.)_?linear_", "target.sp.linear_"),
    ),
    copies={"target.mlm.linear_2.weight": TABLE},
    written=("target.mlm.linear_2.weight",),
    settings={
        "layers": "layers_num",
        "width": "hidden_size",
        "heads": "heads_num",
        "inner": "feedforward_size",
        "positions": "max_seq_length",
        "dropout": "dropout",
        "activation": "hidden_act",
    },
    activations={"gelu": "gelu", "gelu_fast": "gelu_tanh", "relu": "relu"},
    fixed={
        "encoder": (None, "transformer"),
        "mask": (None, "fully_visible"),
        "embedding": (None, "word_pos_seg", ["word", "pos", "seg"]),
        "layernorm_positioning": (None, "post"),
        "feed_forward": (None, "dense"),
        "layernorm": (None, "normal"),
        "parameter_sharing": (None, False),
        "factorized_embedding_parameterization": (None, False),
        "remove_transformer_bias": (None, False),
        "remove_embedding_layernorm": (None, False),
        "relative_position_embedding": (None, False),
    },
    constants={"embedding": ["word", "pos", "seg"], "encoder": "transformer", "mask": "fully_visible", "data_processor": "bert"},
    file="model.safetensors",
    config="config.json",
    note="UER-py's own LayerNorm divides by the sample deviation + 1e-6, so its numbers lie about 1/(2 · width) away; "
    "weights go over unchanged, as in its own scripts",
)

LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (HUGGING_FACE, GOOGLE, UER)}
