"""Plans: a grid's cells, their order, and what makes a cell another one."""

from dataclasses import replace
from pathlib import Path

import pytest

from foretext.errors import UsageError
from foretext.ladder import LadderConfig, read_grid
from foretext.ladder.plan import plans, rungs, task_key
from foretext.strategies import StrategyConfig
from foretext.tasks.base import read_labelled
from stage_two import pretrained

CONFIG = LadderConfig(corpus=("c",), train="t", test="e", labels=(5, 20), seeds=2, minutes=1.0)
TASK = {"pool": "p", "test": "t"}


def keys(config: LadderConfig, corpus: str = "corpus") -> list[str]:
    return [plan.key for plan in plans(config, rungs(config), corpus, TASK)]


def test_cells_come_in_the_tables_order() -> None:
    made = plans(CONFIG, rungs(CONFIG), "corpus", TASK)
    rows = list(dict.fromkeys((plan.kind, plan.rung, plan.how) for plan in made))
    assert rows == [
        ("pretraining", "word2vec", ""),
        ("pretraining", "bert-budget", ""),
        ("score", "majority", ""),
        ("score", "tfidf", ""),
        ("score", "word2vec", "features"),
        ("score", "bert-budget", "scratch"),
        ("score", "bert-budget", "features"),
        ("score", "bert-budget", "finetune"),
    ]
    assert len(made) == 2 + 6 * 4 == len({plan.key for plan in made})
    needs = {plan.rung: plan.key for plan in made if plan.kind == "pretraining"}
    assert all(plan.needs == needs.get(plan.rung, "") for plan in made if plan.kind == "score")


def test_a_costly_rung_is_run_at_some_label_counts_only() -> None:
    config = replace(CONFIG, columns={"bert-budget": (5,)})
    made = [plan for plan in plans(config, rungs(config), "corpus", TASK) if plan.kind == "score"]
    assert {plan.labels for plan in made if plan.rung == "bert-budget"} == {5}
    assert {plan.labels for plan in made if plan.rung == "word2vec"} == {5, 20}
    assert set(keys(config)) < set(keys(CONFIG))


def test_only_what_decides_a_cell_changes_its_key() -> None:
    same = [
        replace(CONFIG, title="x", command="y", workers=2),
        replace(CONFIG, corpus=("elsewhere",), train="moved", test="moved"),  # content counts, not names
    ]
    assert all(keys(config) == keys(CONFIG) for config in same)
    grown = replace(CONFIG, seeds=3, labels=(5, 20, 100))
    assert set(keys(CONFIG)) < set(keys(grown))
    shared = set(keys(CONFIG))
    no_network = 2 * 4  # majority and TF-IDF at two label counts and two seeds
    assert len(shared & set(keys(replace(CONFIG, minutes=2.0)))) == no_network
    assert len(shared & set(keys(CONFIG, corpus="other"))) == no_network
    assert len(shared & set(keys(replace(CONFIG, seed=7)))) == no_network
    tuned = {**CONFIG.strategies, "finetune": StrategyConfig(how="finetune", epochs=3)}
    changed = shared - set(keys(replace(CONFIG, strategies=tuned)))
    assert len(changed) == 2 * 4  # fine-tuned and from scratch
    other = plans(CONFIG, rungs(CONFIG), "corpus", {"pool": "p2", "test": "t"})
    assert len(shared & {plan.key for plan in other}) == 2  # the pretrainings


def test_task_keys_are_content() -> None:
    pool, test = read_labelled([("a b", "x"), ("c", "y")]), read_labelled([("d", "x")])
    assert task_key(pool, test) == task_key(pool, test)
    assert task_key(pool, test)["pool"] != task_key(read_labelled([("a b", "y"), ("c", "x")]), test)["pool"]


def test_settings_reach_the_recipe_and_budgets_replace_its_own() -> None:
    config = replace(CONFIG, settings={"bert-budget": {"family": {"layers": 2}}}, how={"word2vec": ("features", "finetune")})
    word2vec, bert = rungs(config)
    assert bert.recipe.family.layers == 2  # type: ignore[attr-defined]
    assert bert.recipe.limits.minutes == 1.0
    assert (bert.recipe.limits.steps, bert.recipe.limits.epochs) == (None, None)
    assert (word2vec.recipe.limits.minutes, word2vec.recipe.limits.epochs) == (1.0, 5)  # whichever is sooner
    assert word2vec.hows == ("features", "finetune")
    with pytest.raises(UsageError, match=r"layerz.*settings\.bert-budget|settings\.bert-budget.*layerz"):
        rungs(replace(CONFIG, settings={"bert-budget": {"family": {"layerz": 2}}}))
    with pytest.raises(UsageError, match="did you mean 'bert-budget'"):
        rungs(replace(CONFIG, rungs=("bert-budgett",)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": (20, 5)}, "growing counts"),
        ({"labels": ()}, "growing counts"),
        ({"seeds": 0}, "at least 1"),
        ({"minutes": float("nan")}, "positive"),
        ({"baselines": ("svm",)}, "majority, tfidf, scratch"),
        ({"how": {"word2vec": ("magic",)}}, "features, frozen, finetune"),
        ({"how": {"elmo": ("features",)}}, "no rung of this grid"),
        ({"rungs": ("word2vec", "word2vec")}, "each rung once"),
    ],
)
def test_grids_that_mean_nothing_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(CONFIG, **changes)  # type: ignore[arg-type]


def test_a_rung_that_goes_on_from_no_weights_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match=r"bert-continue goes on from a pretrained model.*--continued bert-continue=PATH"):
        rungs(replace(CONFIG, rungs=("word2vec", "bert-continue")))


def test_grid_files_are_strict_and_paths_are_beside_them(tmp_path: Path) -> None:
    file = tmp_path / "GRID.toml"
    file.write_text(
        'corpus = ["texts", "/elsewhere"]\ntrain = "a.csv"\ntest = "b.csv"\nlabels = [2, 4]\nminutes = 1\n'
        "[how]\nword2vec = ['features']\n[strategies.finetune]\nepochs = 2\n[settings.bert-budget.family]\nlayers = 2\n"
    )
    config = read_grid(file)
    assert config.corpus == (str(tmp_path / "texts"), "/elsewhere")
    assert (config.train, config.labels) == (str(tmp_path / "a.csv"), (2, 4))
    assert config.strategies["finetune"].epochs == 2
    assert config.strategies["finetune"].how == "finetune"
    assert rungs(config)[1].recipe.family.layers == 2  # type: ignore[attr-defined]
    file.write_text("minutez = 1\n")
    with pytest.raises(UsageError, match="did you mean 'minutes'"):
        read_grid(file)


def test_a_folder_of_first_vectors_counts_by_its_content(tmp_path: Path) -> None:
    for name, family in (("one", "word2vec"), ("other", "bert")):
        pretrained(family).save(tmp_path / name)
    (tmp_path / "one").rename(tmp_path / "moved")

    def with_folder(name: str) -> list[str]:
        (tmp_path / "grid.toml").write_text(f'[settings.bert-budget]\ninit_embeddings = "{name}"\n')
        return keys(read_grid(tmp_path / "grid.toml", CONFIG))

    moved = with_folder("moved")
    (tmp_path / "moved").rename(tmp_path / "one")
    assert with_folder("one") == moved
    assert with_folder("other") != moved
    assert with_folder("auto") == keys(CONFIG)
    with pytest.raises(UsageError, match="pretrained folder"):
        with_folder("absent")
