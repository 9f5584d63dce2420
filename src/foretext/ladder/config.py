"""What a ladder run is asked to do, as plain data (light: no torch, no numpy)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from foretext.config import override, read_toml
from foretext.errors import UsageError
from foretext.strategies import How, StrategyConfig
from foretext.text.corpus import CorpusConfig

BASELINES = ("majority", "tfidf", "scratch")
HOWS: tuple[How, ...] = ("features", "frozen", "finetune")


def default_strategies() -> dict[str, StrategyConfig]:
    """Settings of each way of transfer, the same for every rung: foretext's own defaults, in bf16."""
    return {how: StrategyConfig(how=how, precision="bf16") for how in HOWS}


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
    """Recipes to pretrain, lowest rung first."""
    how: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Rung → ways of transfer; a rung not named gets what its family does best (see `plan.default_hows`)."""
    baselines: tuple[str, ...] = BASELINES
    """"majority", "tfidf" (TF-IDF + logistic regression), "scratch" (each fine-tuned network without pretraining)."""
    labels: tuple[int, ...] = (5, 20, 100)
    """Labelled texts a class, one column of the table each; a smaller set lies inside the next larger one."""
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
        }
        rules = {
            "labels": "expected growing counts of at least 1, such as [5, 20, 100]",
            "seeds": "expected at least 1",
            "minutes": "expected a positive number of minutes",
            "rungs": "expected each rung once",
            "baselines": f"known: {', '.join(BASELINES)}",
            "how": f"known ways: {', '.join(HOWS)}",
        }
        for name, wrong in problems.items():
            if wrong:
                raise UsageError(f"{name} = {getattr(self, name)!r}: {rules[name]}", place=name)
        strangers = (set(self.how) | set(self.settings)) - set(self.rungs)
        if strangers:
            raise UsageError(
                f"settings for {', '.join(sorted(strangers))}, which is no rung of this grid",
                remedy=f"rungs: {', '.join(self.rungs)}",
            )


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
        rung: {k: beside(str(v)) if k == "init_embeddings" and v not in ("random", "auto") else v for k, v in keys.items()}
        for rung, keys in config.settings.items()
    }
    return override(config, changes, file=file)
