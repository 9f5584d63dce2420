"""Memory: what a run holds depends neither on the corpus's size nor on how long it runs."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.rows import ROWS, Row
from foretext import disk
from foretext.steppers import before
from foretext.text.store import TokenStore
from trust.world import FAMILIES

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
PREPARE = """
import json, resource, sys
from pathlib import Path
from foretext.pretraining import Setting, pretrain
from foretext.text.corpus import CorpusConfig, open_corpus
from foretext.training.config import Limits
from trust.world import recipe
if __name__ == "__main__":
    family, folder, workers, *files = sys.argv[1:]
    peaks = []
    for number, file in enumerate(files):
        read = open_corpus([file], CorpusConfig(documents="blank", language="zh"))  # the faster rule
        more = {} if family == "word2vec" else {"tokenizer": {"size": 2000}, "windows": {"block": 200_000}}
        setting = Setting(threads=1, device="cpu", cache=Path(folder) / "cache", workers=json.loads(workers))
        made = pretrain(recipe(family, **more), read, Path(folder) / f"out-{number}", limits=Limits(steps=3, evaluations=1), setting=setting)
        peaks.append({"tokens": made.provenance.tokens})
        for name, who in (("peak", resource.RUSAGE_SELF), ("worker", resource.RUSAGE_CHILDREN)):
            peaks[-1][name] = resource.getrusage(who).ru_maxrss / 1024
    print(json.dumps(peaks))
"""


def write_text(file: Path, megabytes: float, *, one_line: float = 0.0) -> None:
    """Documents of twenty lines of a dozen words, `one_line` megabytes without a line end; never more than a block in memory."""
    draw = random.Random(0)
    words = [f"{draw.choice('bdklmnrst')}{draw.choice('aeiou')}{number}" for number in range(3000)]
    sentences = [" ".join(draw.choices(words, k=12)).capitalize() + "." for _ in range(3000)]
    documents = ["\n".join(sentences[at : at + 20]) for at in range(0, len(sentences), 20)]
    lines, line = "\n\n".join(documents) + "\n\n", " ".join(sentences) + " "
    with file.open("w") as handle:
        for block, size in ((line, one_line), (lines, megabytes - one_line)):
            for _ in range(round(size * 1e6 / len(block))):
                handle.write(block)
            handle.write("\n\n")


def peaks(family: str, folder: Path, files: list[Path], workers: int | None = 0) -> list[dict[str, float]]:
    command = [sys.executable, "-c", PREPARE, family, str(folder), json.dumps(workers), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.soak
def test_three_times_the_text_and_a_giant_line_need_no_more(tmp_path: Path) -> None:
    """Raw text to tokenizer, store and first steps: 2.5 MB, and 8 MB of which 5 are one line."""
    write_text(tmp_path / "small.txt", 2.5)
    write_text(tmp_path / "large.txt", 8.0, one_line=5.0)
    small, large = (peaks("bert", tmp_path / size, [tmp_path / f"{size}.txt"])[0] for size in ("small", "large"))
    assert large["tokens"] > 2.9 * small["tokens"]
    # The sentences alone, as objects, would be some 20 MB; the store's pages that the steps read are mapped, 2 bytes a token.
    assert large["peak"] - small["peak"] < 10


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("what", ["2 GB", "a line of 200 MB"])
def test_large_text_in_a_gigabyte(tmp_path: Path, family: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    share = float(os.environ.get("FORETEXT_MEMORY_SHARE", "1"))
    size, line = (2000 * share, 0.0) if what == "2 GB" else (260 * share, 200 * share)  # a tenth is held out: there must be more
    write_text(tmp_path / "text.txt", size, one_line=line)
    found = peaks(family, tmp_path, [tmp_path / "text.txt"], None)[0]
    with capsys.disabled():
        told = f"{found['tokens']:,} tokens, peak {found['peak']:.0f} MB, largest worker {found['worker']:.0f} MB"
        print(f"\n{family}, {what} ({size:.0f} MB): {told}")
    assert max(found["peak"], found["worker"]) < 1000


def resident(store: TokenStore) -> dict[str, int]:
    """Kilobytes of the store's own maps that are in memory, by file; another store's maps of the same files do not count."""
    columns = (store.ids, store.word_starts.packed, store.sentences, store.documents, store.held_out)
    places = {f"{column.ctypes.data:x}" for column in columns}
    found, name = dict[str, int](), ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        parts = line.split()
        if "-" in parts[0]:
            name = parts[-1] if parts[0].split("-")[0].lstrip("0") in places else ""
        elif parts[0] == "Rss:" and name:
            found[name] = int(parts[1])
    assert len(found) == len(columns), found
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say what is resident")
@pytest.mark.parametrize("row", {row.family: row for row in reversed(ROWS)}.values(), ids=lambda row: row.family)
def test_a_step_holds_no_page_of_a_large_store(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LARGE", 0)  # the store of this miniature is a large one
    store = row.store()
    stepper = before(replace(row.job(), store=replace(store, key=str(tmp_path))), tmp_path) or row.stepper(2)
    stepper.evaluate()
    assert int(store.ids.sum() + store.sentences.sum() + store.held_out.sum()) > 0
    assert sum(resident(store).values()) > 0
    stepper.step()
    assert sum(resident(store).values()) == 0, resident(store)


# ── ten epochs ──────────────────────────────────────────────────────────────────────────────────────────────────────


EPOCHS = """
import gc, json, os, sys
from dataclasses import replace
from pathlib import Path
from foretext.pretraining import Setting, pretrain
from foretext.text.corpus import strings_corpus
from foretext.training.progress import SilentWatch
from trust.world import LIMITS, recipe, texts

class Resident(SilentWatch):
    def __init__(self):
        super().__init__()
        self.total, self.found = 1, []

    def begin(self, *, total, step=0, tokens=0, unigram=None):
        self.total = total

    def report(self, step, report):
        if step * 10 // self.total > (step - 1) * 10 // self.total:  # an epoch ends
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.found.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)

if __name__ == "__main__":
    family, folder, documents = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    watch = Resident()
    limits = replace(LIMITS, steps=None, epochs=10.0, evaluations=20, checkpoint_steps=5)  # both within the first epoch
    setting = Setting(threads=1, device="cpu", cache=folder / "cache", workers=0)
    pretrain(recipe(family), strings_corpus(texts(documents)), folder / "out", limits=limits, setting=setting, watch=watch)
    print(json.dumps(watch.found))
"""


def ten_epochs(family: str, folder: Path, documents: int) -> list[float]:
    """Resident megabytes at the end of each of ten epochs. In a process of its own: a forked one has its parent's pages,
    which count as it comes to touch them."""
    command = [sys.executable, "-c", EPOCHS, family, str(folder), str(documents)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 10
    return found


@pytest.mark.parametrize("family", ["word2vec", pytest.param("bert", marks=pytest.mark.soak)])
def test_ten_epochs_grow_by_less_than_a_hundredth(tmp_path: Path, family: str) -> None:
    found = ten_epochs(family, tmp_path, documents=24)
    assert found[-1] <= 1.01 * found[0], found


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", FAMILIES)
def test_ten_long_epochs_grow_by_less_than_a_hundredth(
    tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ten_epochs(family, tmp_path, documents=1000)
    with capsys.disabled():
        print(f"\n{family}: {found[0]:.1f} MB after one epoch, {found[-1]:.1f} MB after ten ({found[-1] / found[0] - 1:+.2%})")
    assert found[-1] <= 1.01 * found[0], found
