from pathlib import Path

import numpy as np
import pytest

from foretext.errors import (
    ArtefactError,
    DataError,
    Defect,
    DivergedError,
    ExitCode,
    ForetextError,
    Preempted,
    ResourceError,
    UsageError,
    failure,
    nearest,
    no_file,
    require_whole,
    unknown,
)


def test_a_message_is_one_line_of_file_place_rule_remedy() -> None:
    error = DataError("expected UTF-8,\nfound byte 0xff", file="a.txt", place="byte 7", remedy="save it as UTF-8")
    assert str(error) == "a.txt:byte 7: expected UTF-8, found byte 0xff; save it as UTF-8"
    assert str(UsageError("no such recipe")) == "no such recipe"
    assert (error.file, error.place, error.remedy) == ("a.txt", "byte 7", "save it as UTF-8")


@pytest.mark.parametrize(
    ("kind", "code"),
    [(Defect, 1), (UsageError, 2), (DataError, 3), (ArtefactError, 4), (ResourceError, 5), (DivergedError, 6), (Preempted, 75)],
)
def test_exit_codes(kind: type[ForetextError], code: int) -> None:
    assert kind("x").exit_code == code == ExitCode(code)
    assert issubclass(kind, ForetextError)
    assert isinstance(failure(code, "x", file="f"), kind)


def test_a_code_of_no_error_is_one_of_resources() -> None:
    """A process that was killed says no code of ours."""
    assert isinstance(failure(137, "x"), ResourceError)


def test_counts_are_whole_numbers() -> None:
    for value in (1, np.int64(7)):
        require_whole("n", value)
    require_whole("most", 0, least=0)
    for value in (0, -1, True, 2.0, "3", None):
        with pytest.raises(UsageError, match="n: expected a whole number from 1 on"):
            require_whole("n", value)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("https://example.org/a.csv", "https://example.org/a.csv: expected a file of this machine, found a URL; download it first"),
        (Path("s3://bucket/a.csv"), "s3://bucket/a.csv: expected a file of this machine, found a URL; download it first"),
        ("C:/a.csv", "C:/a.csv: no such file or folder; check the spelling of the path"),
        ("absent/a.csv", "absent/a.csv: no such file or folder; check the spelling of the path"),
        ("/", "/: expected a file, found a folder; name one"),
        ("/dev/null", "/dev/null: expected a file, found a pipe or a device; write it to a file first"),
    ],
)
def test_what_is_no_file_is_said(path: str | Path, found: str) -> None:
    assert no_file(path, "name one" if path == "/" else "").message == found


def test_the_nearest_name_is_offered() -> None:
    assert nearest("bert-bse", ["bert-base", "word2vec"]) == "bert-base"
    assert nearest("BERT-Base", ["bert-base"]) == "bert-base"
    assert nearest("zzz", ["bert-base"]) is None
    error = unknown("recipe", "bert-bse", ["bert-base", "word2vec"])
    assert error.message == "unknown recipe 'bert-bse'; did you mean 'bert-base'? known: bert-base, word2vec"
