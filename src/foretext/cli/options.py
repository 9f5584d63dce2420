"""What each command takes: one frozen record a command, read by tyro. Light: `foretext --help` imports nothing else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro import conf

Words = Annotated[tuple[str, ...], conf.Positional]
Word = Annotated[str, conf.Positional]
Settings = Annotated[tuple[str, ...], conf.UseAppendAction, conf.arg(metavar="KEY=VALUE")]


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """How a corpus is read: .txt, .jsonl, .csv, .tsv, .parquet, compressed, folders, globs, URLs, wiki dumps, -."""

    documents: Literal["auto", "file", "line", "blank"] = "auto"
    """Where a document ends in plain text: at the file's end, at each line's, or at a blank line."""
    sentences: Literal["rules", "line"] = "rules"
    """Where a sentence ends: by the rules of the language, or at each line's end, for text that is cut already."""
    encoding_errors: Literal["strict", "replace"] = "strict"
    """Bytes that are no UTF-8: refuse the file, or replace and count them."""
    language: Literal["auto", "en", "zh"] = "auto"
    """Sentence rules; auto decides paragraph by paragraph, by script."""
    text_field: str | None = None
    """The column or field that holds the text."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The corpus doctor: counts, duplicates, damage, coverage; each finding with file, line and cure."""

    corpus: Words
    """Files, folders, globs, URLs, or - for standard input."""
    reading: Annotated[CorpusOptions, conf.OmitArgPrefixes] = field(default_factory=CorpusOptions)
    dedupe: Path | None = None
    """Write the corpus without its duplicate documents here."""
    json: bool = False
    """For programs."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Training instances as the model sees them: pieces, masks, segments, labels."""

    recipe: Word
    corpus: Words
    reading: Annotated[CorpusOptions, conf.OmitArgPrefixes] = field(default_factory=CorpusOptions)
    config: Path | None = None
    """TOML laid over the recipe."""
    set: Settings = ()
    """A field of the recipe, over the TOML: --set family.width=128; as often as needed."""
    n: int = 3
    """How many instances."""
    seed: int = 0
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Stage one: raw text to a pretrained model."""

    recipe: Word
    """A name from `foretext recipes`."""
    corpus: Words
    out: Path
    """The folder to make; while it runs, its work lies beside it in OUT.run."""
    reading: Annotated[CorpusOptions, conf.OmitArgPrefixes] = field(default_factory=CorpusOptions)
    from_: Annotated[Path | None, conf.arg(name="from")] = None
    """Go on from the weights and vocabulary of this pretrained folder, or from another program's word vectors: a file of
    word2vec's, GloVe's or fastText's, a folder of spaCy's."""
    init_embeddings: Annotated[str | None, conf.arg(metavar="random|auto|FOLDER|FILE")] = None
    """What the embeddings start from: random; auto (skip-gram vectors trained for seconds on the same pieces); or the
    vectors of a pretrained folder or of another program's file, matched piece by piece. The recipe's own by default."""
    config: Path | None = None
    """TOML laid over the recipe."""
    set: Settings = ()
    """A field of the recipe, over the TOML: --set family.width=128; as often as needed."""
    minutes: float | None = None
    """A wall-clock budget, turned into a fixed number of steps by a short trial."""
    steps: int | None = None
    epochs: float | None = None
    seed: int | None = None
    processes: int = 1
    """Processes that share each update. For small models one a core, of one thread, is faster than one with many."""
    threads: int | None = None
    """Processor threads of each process; by default all of the machine's, divided by the processes."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    dry_run: bool = False
    """Print parameters, tokens, epochs, memory, disk and hours, and stop."""
    resume: bool = False
    """Continue an unfinished run of the same settings; a finished one is shown, its text unread."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Extend:
    """Domain words for a pretrained vocabulary, started from their pieces; coverage before and after."""

    pretrained: Word
    corpus: Words
    """Text of the domain: files, folders, globs, URLs, or -."""
    out: Path
    """The folder to make; go on with `foretext pretrain RECIPE CORPUS --from OUT`."""
    reading: Annotated[CorpusOptions, conf.OmitArgPrefixes] = field(default_factory=CorpusOptions)
    words: Path | None = None
    """A file with the words to add, one a line; without it the corpus's words that save most pieces."""
    most: int | None = None
    """Most words added (1000)."""
    min_count: int | None = None
    """Words seen less often are not added (5)."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Stage two: a pretrained model and labelled data to a working model."""

    arguments: Annotated[tuple[str, ...], conf.Positional, conf.arg(metavar="PRETRAINED… TASK TRAIN")]
    """Pretrained folder(s), the task (classify), and the labelled file."""
    out: Path
    how: Literal["features", "frozen", "finetune"] = "finetune"
    """features: encode once, train a head; frozen: the same, encoding as it goes; finetune: train everything."""
    host: Literal["none", "average", "cnn", "bilstm"] | None = None
    """A network between the token vectors and the decision; cnn and bilstm see the order of the words."""
    dev: Path | None = None
    """Labelled file for early stopping; without it a part of TRAIN is split off and reported."""
    text: str | None = None
    """The text column; detected by name where not given."""
    label: str | None = None
    """The label column; detected by name where not given."""
    seeds: int = 1
    """Train this often with other seeds; mean ± sd is reported."""
    keep: Literal["best", "ensemble"] = "best"
    config: Path | None = None
    """TOML laid over the strategy: [strategy] and [task]."""
    set: Settings = ()
    """A field of it, over the TOML: --set strategy.epochs=3; as often as needed."""
    threads: int | None = None
    device: str = "auto"
    resume: bool = False
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Predict:
    """A label and its probabilities for every line of text."""

    adapted: Word
    file: Word = "-"
    """Plain lines, .csv, .tsv or .jsonl; - for standard input."""
    text: str | None = None
    """The text column of a table."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Accuracy, macro F1, MCC with intervals, calibration, mistakes, confusion matrix."""

    adapted: Word
    test: Word
    text: str | None = None
    label: str | None = None
    picture: Path | None = None
    """Write the confusion matrix here as a PNG."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Vectors of every line of text, to a .safetensors or .npz file."""

    pretrained: Word
    file: Word = "-"
    out: Path
    layer: str = "all"
    """A layer's number (0 = embeddings, -1 = last), mix (the mean of all), or all."""
    pool: Literal["none", "mean", "summary"] = "none"
    """One vector a token, or one a text."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Neighbors:
    """Nearest words; for contextual models, nearest occurrences of a [bracketed] word of a sentence, layer by layer."""

    pretrained: Word
    query: Word
    """A word; or a sentence with one word in [brackets]."""
    in_: Annotated[tuple[str, ...], conf.arg(name="in")] = ()
    """The corpus in which contextual models look for occurrences."""
    n: int = 10
    same_word: bool = False
    """Only occurrences of the query's own word."""
    index: Literal["exact", "flat", "ivf"] = "exact"
    """How nearest words are found: a matrix product; or faiss, comparing all (flat) or a part (ivf; its recall is said)."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Analogy:
    """A is to B as C is to which word? man king woman → queen."""

    pretrained: Word
    a: Word
    b: Word
    c: Word
    method: Literal["add", "mul"] = "add"
    """3CosAdd (the word nearest to B − A + C) or 3CosMul."""
    n: int = 10
    most: int = 0
    """Only the first so many entries of the vocabulary, the most frequent, are answers; 0: all."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Cosines between words, before any context."""

    pretrained: Word
    words: Words
    """Two words or more."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateVectors:
    """Word vectors on the published word sets: similarity, analogies, categories, outliers; with coverage and intervals."""

    pretrained: Word
    sets: tuple[str, ...] = ()
    """Sets by name (wordsim353, google, …), kind (similarity, analogy, categories, outliers), language (en, zh), or a file
    of your own: "word word score" lines, or questions of four words. All that are here, where none is named."""
    method: Literal["add", "mul"] = "add"
    """How analogies are answered: 3CosAdd or 3CosMul."""
    most: int = 0
    """Only the first so many entries of the vocabulary, the most frequent, exist; 0: all. 30000 is usual for analogies."""
    seed: int = 0
    """Of the bootstrap and of k-means."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Map:
    """A picture: chosen words and their neighbours on a plane."""

    pretrained: Word
    words: Words
    out: Path
    """The picture to write: .png, .svg or .pdf. SVG leaves letters to its viewer: Chinese needs no font here."""
    n: int = 8
    """Neighbours of each word."""
    method: Literal["pca", "tsne"] = "pca"
    """Principal components, whose axes say how much they show; or t-SNE, which keeps near words near and nothing else."""
    seed: int = 0
    """Of t-SNE."""
    index: Literal["exact", "flat", "ivf"] = "exact"
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A picture: training and held-out loss of runs, finished or still going on."""

    runs: Words
    """Pretrained folders, or the OUT.run beside an unfinished one."""
    out: Path | None = None
    """The picture to write: .png, .svg or .pdf; without it only the figures are said."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Polysemy:
    """One spelling, several meanings: is every "bank" one vector to this model, or does it tell them apart?"""

    pretrained: Word
    sentences: Words
    """bank, 苹果 or 打 (sentences that foretext brings); or your own, of one word in two senses or more:
    "river: She sat on the [bank]." "money: The [bank] lent it." …"""
    out: Path | None = None
    """Write the picture here: .png, .svg or .pdf."""
    n: int = 16
    """Nearest words of a static vector."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Fill:
    """What belongs in place of [MASK] (or ___)."""

    pretrained: Word
    text: Word
    n: int = 5
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Score:
    """Log-probability of every line: one-way models exactly; BERT as pseudo-log-likelihood."""

    pretrained: Word
    file: Word = "-"
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Perplexity of a language model on a text; of two models, and of their mixture too."""

    arguments: Annotated[tuple[str, ...], conf.Positional, conf.arg(metavar="MODEL [MODEL] TEXT")]
    """One or two pretrained folders, and the text: a file, folder, glob or URL, or -."""
    dev: str | None = None
    """Text on which the mixture's weight is chosen (EM); without it both models count half."""
    reading: Annotated[CorpusOptions, conf.OmitArgPrefixes] = field(default_factory=CorpusOptions)
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Every rung on your text and labels under equal budgets, with honest baselines: one table, one report."""

    grid: Annotated[Path | None, conf.Positional] = None
    """A GRID.toml; or give the parts below."""
    corpus: tuple[str, ...] = ()
    train: Path | None = None
    test: Path | None = None
    rungs: tuple[str, ...] = ()
    minutes: float | None = None
    """Pretraining budget of each rung."""
    labels: tuple[int, ...] = ()
    """Labels a class, e.g. 5 20 100."""
    from_: Annotated[tuple[str, ...], conf.arg(name="from", metavar="NAME=PATH")] = ()
    """Rungs of weights that exist, as they are: a foretext folder, one in Hugging Face's layout, or a file of word vectors."""
    continued: Annotated[tuple[str, ...], conf.arg(metavar="NAME=PATH")] = ()
    """The same, pretrained further on the corpus with the recipe bert-continue."""
    seeds: int | None = None
    out: Path = Path("ladder")
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The ladder on ten thousand Wikipedia introductions that a package carries."""

    out: Path = Path("runs/demo")
    full: bool = False
    """Every rung there is, and half an hour."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """From one layout to another; the outputs of both are compared before it says done."""

    src: Word
    """A folder of foretext's, Hugging Face's, Google's or UER-py's, or word vectors: word2vec's, GloVe's or
    fastText's file, spaCy's folder; told by what is in it."""
    dst: Word
    to: Annotated[str, conf.arg(metavar="foretext|hf|google|uer|word2vec|word2vec-binary|glove|fasttext|fasttext-vec|spacy")]


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a folder holds, and where it came from."""

    dir: Word
    verify: bool = False
    """Check every checksum."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """The recipes; one in full with its sources; or how two differ."""

    name: Annotated[str | None, conf.Positional] = None
    diff: str | None = None
    """Another recipe to compare with."""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Data:
    """Data sets: what is known, what is there, and where each comes from."""

    json: bool = False
