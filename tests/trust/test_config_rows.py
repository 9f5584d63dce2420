"""TRUST.md section 2, row 25: configuration is typed and strict; names that are nearly right are offered right."""

from pathlib import Path

import pytest

from foretext.errors import ExitCode
from trust.command import refused

USAGE = ExitCode.USAGE
Capture = pytest.CaptureFixture[str]

FAULTS = {
    "unknown key": ("[optimizer]\nraet = 1e-3", ("bad.toml:optimizer.raet: unknown key 'raet'", "did you mean 'rate'?")),
    "unknown table": ("[optimiser]\nrate = 1e-3", ("bad.toml:optimiser: unknown key", "did you mean 'optimizer'?")),
    "unknown objective": ("[objectives.maskd]\nrate = 0.2", ("objectives.maskd", "did you mean 'masked'?")),
    "unknown key of a list's record": ("[[phases]]\nshare = 1.0\nratse = {}", ("phases", "ratse", "rates")),
    "1e-4 as a string": ('[optimizer]\nrate = "1e-4"', ("optimizer.rate: Expected `float`, got `str`", "1e-4")),
    "a number as a string": ('[family]\nlayers = "2"', ("family.layers: Expected `int`, got `str`",)),
    "no as a string": ('[batch]\ncompile = "no"', ("batch.compile: Expected `bool`, got `str`",)),
    "0 for false": ("[batch]\ncompile = 0", ("batch.compile: Expected `bool`, got `int`",)),
    "a fraction for a count": ("[family]\nlayers = 2.5", ("family.layers: Expected `int`, got `float`",)),
    "a date": ("[optimizer]\nrate = 1979-05-27", ("optimizer.rate",)),
    "a list for a number": ("[optimizer]\nrate = [1e-4]", ("optimizer.rate: Expected `float`, got `array`",)),
    "a table for a number": ("[optimizer.rate]\nx = 1", ("optimizer.rate: Expected `float`, got `object`",)),
    "a number for a table": ("optimizer = 1e-4", ("bad.toml:optimizer: expected a table, found 0.0001",)),
    "an array of tables for a table": ("[[optimizer]]\nrate = 1.0", ("bad.toml:optimizer: expected a table",)),
    "a duplicate key": ("[optimizer]\nrate = 1e-4\nrate = 1e-3", ("not valid TOML: Cannot overwrite a value")),
    "a duplicate table": ("[optimizer]\nrate = 1e-4\n[optimizer]\ndecay = 0.1", ("not valid TOML", "line 3")),
    "a key that YAML would take": ("rate: 1e-4", ("not valid TOML", "line 1")),
    "a YAML object": ("seed = !!python/object:os.system", ("not valid TOML", "line 1")),
    "nan": ("[optimizer]\nrate = nan", ("optimizer.rate: Expected a finite number, got `nan`",)),
    "infinity": ("[optimizer]\nrate = inf", ("optimizer.rate: Expected a finite number, got `inf`",)),
    "infinity by size": ("[optimizer]\nrate = 1e400", ("optimizer.rate: Expected a finite number, got `inf`",)),
    "nan within": ("[optimizer]\nbetas = [0.9, nan]", ("optimizer.betas", "finite")),
    "a number of 5,000 digits": ("seed = " + "9" * 5000, ("bad.toml",)),
    "a number of 300 digits": ("[optimizer]\nrate = " + "9" * 400, ("bad.toml",)),
    "depth": ("seed = " + "[" * 5000, ("not valid TOML",)),
    "bytes": ("a = '\udcff'", ("not valid TOML",)),
    "a rate below 0": ("[optimizer]\nrate = -1e-4", ("bad.toml:optimizer.rate: expected at least 0, found -0.0001",)),
    "a share above 1": ("held_out = 1.5", ("bad.toml:held_out: expected a share between 0 and 1, found 1.5",)),
    "a warm-up above 1": ("[schedule]\nwarmup = 10.0", ("schedule.warmup: expected a share",)),
    "a beta above 1": ("[optimizer]\nbetas = [0.9, 9.9]", ("optimizer.betas: expected a share between 0 and 1, found (0.9, 9.9)",)),
    "one beta": ("[optimizer]\nbetas = [0.9]", ("optimizer.betas: Expected `array` of length 2",)),
    "no rows": ("[batch]\nrows = 0", ("batch.rows: expected at least 1, found 0",)),
    "rows of no tokens": ("[windows]\nlength = 2", ("windows", "at least 8 tokens", "found 2")),
    "no layers": ("[family]\nlayers = 0", ("family", "at least 1")),
    "heads that do not divide": ("[family]\nwidth = 100\nheads = 3", ("family.heads", "does not divide")),
    "dropout above 1": ("[family]\ndropout = 1.5", ("family.dropout: expected a share",)),
    "no vocabulary": ("[tokenizer]\nsize = 0", ("tokenizer.size: expected at least 1, found 0",)),
    "an unknown kind": ('[tokenizer]\nkind = "bqe"', ("tokenizer.kind: Invalid enum value 'bqe'",)),
    "no phase": ("phases = []", ("phases", "at least one phase")),
    "a negative seed": ("seed = -1", ("bad.toml:seed: expected at least 0, found -1",)),
    "a mask rate of 1": ("[objectives.masked]\nrate = 1.0", ("objectives.masked", "expected a share")),
    "minutes below 0": ("[limits]\nminutes = -3", ("limits.minutes: expected a number above 0, found -3",)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_row_25_a_recipe_s_toml(world: Path, capsys: Capture, name: str) -> None:
    text, parts = FAULTS[name]
    (world / "bad.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    words = ["pretrain", "bert-budget", "corpus.txt", "--out", "x", "--steps", "1", "--config", "bad.toml"]
    line = refused(words, USAGE, parts, capsys)
    assert "bad.toml" in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[strategi]\nrate = 1.0", ("unknown table 'strategi'", "[strategy] and [task]")),
        ("[strategy]\nhed_rate = 1.0", ("strategy.hed_rate", "did you mean 'head_rate'?")),
        ('[strategy]\nrate = "1e-4"', ("strategy.rate: Expected `float | null`, got `str`",)),
        ("[strategy]\nrate = nan", ("strategy.rate", "finite")),
        ("[strategy]\nclip = 0.0", ("strategy", "clip: 0.0 is out of range")),
        ("[[strategy]]\nrate = 1.0", ("strategy: expected a table",)),
        ("[task]\ndev_share = 2.0", ("task.dev_share: expected a share",)),
        ('[task]\nfit = {policy = "cat"}', ("task.fit.policy: Invalid enum value 'cat'",)),
        ('[task]\nmulti = "no"', ("task.multi: Expected `bool | null`, got `str`",)),
    ],
)
def test_row_25_a_strategy_s_toml(world: Path, capsys: Capture, text: str, parts: tuple[str, ...]) -> None:
    (world / "bad.toml").write_text(text)
    words = ["transfer", "model", "classify", "train.csv", "--out", "x", "--config", "bad.toml"]
    refused(words, USAGE, ("bad.toml", *parts), capsys)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("minuts = 1.0", ("minuts: unknown key", "did you mean 'minutes'?")),
        ("labels = [20, 5]", ("labels", "growing counts")),
        ("seeds = 0", ("seeds", "at least 1")),
        ("minutes = inf", ("minutes", "finite")),
        ('rungs = "bert-budget"', ("rungs: Expected `array`, got `str`",)),
        ("[strategies.finetune]\nepoch = 1.0", ("strategies.finetune.epoch", "did you mean 'epochs'?")),
        ("[settings.bert]\nlayers = 1", ("settings for bert, which is no rung",)),
    ],
)
def test_row_25_a_grid(world: Path, capsys: Capture, text: str, parts: tuple[str, ...]) -> None:
    (world / "grid.toml").write_text(f'{text.split("[")[0] if text[0] == "[" else text}\n' + (text if text[0] == "[" else ""))
    refused(["ladder", "grid.toml", "--out", "l"], USAGE, ("grid.toml", *parts), capsys)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["pretrian", "bert-budget"], ("unknown command 'pretrian'", "did you mean 'pretrain'?")),
        (["pretrain", "bert-buget", "corpus.txt", "--out", "x"], ("unknown recipe 'bert-buget'", "did you mean 'bert-budget'?")),
        (["pretrain", "bert-budget", "corpus.txt", "--out", "x", "--stesp", "3"], ("unknown option --stesp", "did you mean --steps?")),
        (["predict", "classifier", "--jsn"], ("unknown option --jsn", "did you mean --json?")),
        (["transfer", "model", "clasify", "train.csv", "--out", "x"], ("unknown task 'clasify'", "did you mean 'classify'?")),
        (["pretrain", "bert-budget", "corpus.txt", "--out", "x", "--steps", "many"], ("--steps", "many")),
        (["pretrain", "bert-budget", "corpus.txt"], ("--out",)),
        (["transfer", "model", "classify", "train.csv", "--out", "x", "--how", "frosen"], ("--how", "frosen", "frozen")),
        (["convert", "vectors", "v.txt", "--to", "wrod2vec"], ("unknown layout 'wrod2vec'", "did you mean 'word2vec'?")),
        (["recipes", "bert-tny"], ("unknown recipe 'bert-tny'", "did you mean 'bert-tiny'?")),
        ([], ("Expected one of",)),
    ],
)
def test_row_25_words_of_the_command_line(world: Path, capsys: Capture, words: list[str], parts: tuple[str, ...]) -> None:
    refused(words, USAGE, parts, capsys)


@pytest.mark.parametrize(("option", "value"), [("--minutes", "nan"), ("--minutes", "inf"), ("--steps", "0"), ("--epochs", "-1"), ("--seed", "-1")])
def test_row_25_numbers_of_the_command_line(world: Path, capsys: Capture, option: str, value: str) -> None:
    refused(["pretrain", "bert-budget", "corpus.txt", "--out", "x", option, value], USAGE, (value.lstrip("-"),), capsys)
