"""What a ladder run is asked to do, as plain data (light: no torch, no numpy)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from foretext.config import override, read_toml
from foretext.errors import UsageError
from foretext.strategies import How, StrategyConfig
from foretext.text.corpus import CorpusConfig

CONTINUE = "bert-continue"
"""The recipe that goes on from a BERT's weights, where a command line names none."""
BASELINES = ("majority", "tfidf", "scratch")
HOWS: tuple[How, ...] = ("features", "frozen", "finetune")


def default_strategies() -> dict[str, StrategyConfig]:
    """Settings of each way of transfer, the same for every rung: foretext's own defaults, in bf16."""
    return {how: StrategyConfig(how=how, precision="bf16") for how in HOWS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Weights that exist already, as a rung: as they are, or pretrained further on the grid's text."""

    path: str
    """A Pretrained folder of foretext, a folder in Hugging Face's layout (config.json, safetensors, vocabulary), or word
    vectors in any layout that `foretext convert` reads."""
    recipe: str = ""
    """The recipe that goes on from them, such as "bert-continue"; empty: they are taken as they are."""
    minutes: float | None = None
    """Budget of going on; None = the grid's."""
    scratch: bool = False
    """Whether the baseline "scratch" is run for this network too. Networks made elsewhere are often large, and hours
    of training one on a few labelled texts tell what is known already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderConfig:
    """A grid: rungs × ways of transfer × label counts × seeds, on one corpus and one labelled task."""

    corpus: tuple[str, ...] = ()
    """Raw text that every rung is pretrained on: files, folders, globs."""
    reading: CorpusConfig = field(default_factory=CorpusConfig)
    """How the corpus is split into documents, and so on."""
    train: str = ""
    """Labelled texts (csv, tsv, jsonl, parquet) that the label sets are drawn from."""
    test: str = ""
    """Labelled texts that every cell is scored on; held out of the corpus."""
    text: str | None = None
    """Column that holds the text; None finds it by its name."""
    label: str | None = None
    """Column that holds the label; None finds it by its name."""
    rungs: tuple[str, ...] = ("word2vec", "bert-budget")
    """Recipes to pretrain, and names from `sources`; lowest rung first."""
    sources: Mapping[str, str | Origin] = field(default_factory=dict)
    """Rung → weights that exist: a path (as they are), or e.g. [sources.more] path = "minilm", recipe = "bert-continue",
    minutes = 1."""
    how: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Rung → ways of transfer; a rung not named gets what its family does best (see `plan.default_hows`)."""
    baselines: tuple[str, ...] = BASELINES
    """"majority", "tfidf" (TF-IDF + logistic regression), "scratch" (each fine-tuned network without pretraining)."""
    labels: tuple[int, ...] = (5, 20, 100)
    """Labelled texts a class, one column of the table each; a smaller set lies inside the next larger one."""
    columns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Rung → the label counts it is run at; a rung not named is run at all. The table says "–" where a costly rung is not."""
    seeds: int = 3
    """Label draws (and starting points of the heads) a column."""
    minutes: float = 2.0
    """Wall-clock budget of each rung's pretraining; a rung that its own recipe ends sooner ends sooner."""
    hold_out: bool = True
    """Leave documents that contain a test text out of the corpus; False: the table says "transductive"."""
    seed: int = 0
    """Seed of pretraining."""
    workers: int = 0
    """Processes for transfer cells, one thread each; 0 = one a core."""
    strategies: Mapping[str, StrategyConfig] = field(default_factory=default_strategies)
    """Way of transfer → its settings, e.g. [strategies.finetune] epochs = 5."""
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Rung → keys laid over its recipe, e.g. [settings.bert-budget.family] layers = 2."""
    title: str = ""
    """Heading of the report."""
    command: str = ""
    """What to type to get this report again; printed in it."""

    def __post_init__(self) -> None:
        problems = {
            "labels": not self.labels or min(self.labels) < 1 or tuple(sorted(set(self.labels))) != self.labels,
            "seeds": self.seeds < 1,
            "minutes": not 0 < self.minutes < 1e5,
            "rungs": len(set(self.rungs)) != len(self.rungs),
            "baselines": not set(self.baselines) <= set(BASELINES),
            "how": any(not set(hows) <= set(HOWS) or not hows for hows in self.how.values()),
            "columns": any(not counts or not set(counts) <= set(self.labels) for counts in self.columns.values()),
            "sources": any(not origin.path or not 0 < (origin.minutes or 1.0) < 1e5 for origin in self.origins.values()),
        }
        rules = {
            "labels": "expected growing counts of at least 1, such as [5, 20, 100]",
            "seeds": "expected at least 1",
            "minutes": "expected a positive number of minutes",
            "rungs": "expected each rung once",
            "baselines": f"known: {', '.join(BASELINES)}",
            "how": f"known ways: {', '.join(HOWS)}",
            "columns": f"expected some of the grid's label counts, {', '.join(map(str, self.labels))}",
            "sources": "expected a path each, and a positive number of minutes where any are given",
        }
        for name, wrong in problems.items():
            if wrong:
                raise UsageError(f"{name} = {getattr(self, name)!r}: {rules[name]}", place=name)
        strangers = (set(self.how) | set(self.columns) | set(self.settings) | set(self.sources)) - set(self.rungs)
        if strangers:
            raise UsageError(
                f"settings for {', '.join(sorted(strangers))}, which is no rung of this grid",
                remedy=f"rungs: {', '.join(self.rungs)}",
            )
        for name in set(self.settings) & {name for name, origin in self.origins.items() if not origin.recipe}:
            raise UsageError(f"settings for {name}, whose weights are taken as they are", place=f"settings.{name}")

    @property
    def origins(self) -> Mapping[str, Origin]:
        """`sources` in full."""
        return {name: Origin(path=value) if isinstance(value, str) else value for name, value in self.sources.items()}


def read_grid(file: Path, base: LadderConfig | None = None) -> LadderConfig:
    """A GRID.toml as a config; unknown keys are refused, and paths are read relative to the file's folder.

    Errors: UsageError naming file, key and the nearest known key.
    """
    values = read_toml(file)
    config = override(base or LadderConfig(), values, file=file)
    folder = Path(file).parent

    def beside(path: str) -> str:
        return path if not path or path == "-" or "://" in path or Path(path).is_absolute() else str(folder / path)

    changes: dict[str, object] = {
        "corpus": [beside(path) for path in config.corpus] if "corpus" in values else list(config.corpus),
        "train": beside(config.train) if "train" in values else config.train,
        "test": beside(config.test) if "test" in values else config.test,
    }
    changes["settings"] = {
        rung: {k: beside(str(v)) if k == "init_embeddings" and v not in ("random", "auto", "source") else v for k, v in keys.items()}
        for rung, keys in config.settings.items()
    }
    sources = {name: replace(origin, path=beside(origin.path)) for name, origin in config.origins.items()}
    return replace(override(config, changes, file=file), sources=sources if "sources" in values else config.sources)
