"""Shards in several processes: order, errors as they are, nothing left running, and the caller's script left alone."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from foretext.errors import DataError, ResourceError
from foretext.text.corpus import StringsCorpus, strings_corpus
from foretext.text.parts import write_part
from foretext.text.shards import SMALL, corpus_size, each_shard, shard_count, worker_count
from foretext.text.tokenizers import TokenizerConfig
from foretext.text.tokenizers.counting import count_chunks

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
SCRIPT = """
from pathlib import Path
from foretext.text.corpus import StringsCorpus, strings_corpus
from foretext.text.shards import each_shard
from foretext.text.tokenizers import TokenizerConfig
from foretext.text.tokenizers.counting import count_chunks

print("the script runs")
corpus = strings_corpus(["a a", "b", "c", "d"])
for counts in each_shard(count_chunks, corpus, 4, TokenizerConfig(), workers=2):
    print(dict(counts))
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """Results come in order, and started processes do not import the script again."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, env=ENVIRONMENT, timeout=100
    )
    assert done.stdout.split("\n")[:5] == ["the script runs", "{'a': 2}", "{'b': 1}", "{'c': 1}", "{'d': 1}"], (
        done.stderr
    )


def test_errors_arrive_whole(tmp_path: Path) -> None:
    """A failed write in a worker is what the caller sees, and the workers are gone."""
    corpus = strings_corpus(["a", "b", "c"])
    with pytest.raises(FileNotFoundError):
        list(each_shard(write_part, corpus, 3, SimpleNamespace(size=4), tmp_path / "absent", workers=2))
    assert not multiprocessing.active_children()


class Foreign(StringsCorpus):
    """Ends every worker process that reads it (one that cannot even import it ends by itself)."""

    def sentences(self, shard: int = 0, of: int = 1):  # type: ignore[no-untyped-def]
        if multiprocessing.parent_process() is not None:
            os._exit(9)
        return super().sentences(shard, of)


def test_a_dead_worker_is_named() -> None:
    with pytest.raises(ResourceError, match="worker process died") as refused:
        list(each_shard(count_chunks, Foreign(["a", "b"]), 2, TokenizerConfig(), workers=2))
    assert refused.value.exit_code == 5


def test_errors_of_ours_survive_the_way() -> None:
    import pickle

    error = DataError("a rule", file="f.txt", place="line 3", remedy="a cure")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.remedy) == (DataError, error.message, "a cure")


def test_size_decides() -> None:
    class Sized:
        key = "k"

        def __init__(self, size: int) -> None:
            self.size = size

        def sentences(self, shard: int = 0, of: int = 1):  # type: ignore[no-untyped-def]
            return iter(())

    small, large, huge = Sized(SMALL - 1), Sized(SMALL), Sized(1 << 30)
    assert [shard_count(corpus) for corpus in (small, large, huge)] == [1, 8, 16]
    assert worker_count(small, None) == 0
    assert worker_count(small, 3) == 3
    assert corpus_size(strings_corpus(["x"])) == 0
    counted = list(each_shard(count_chunks, strings_corpus(["x y"]), 1, TokenizerConfig(), workers=4))
    assert counted == [{"x": 1, "y": 1}]
