import pytest

from foretext.errors import (
    ArtefactError,
    DataError,
    DivergedError,
    ExitCode,
    ForetextError,
    Preempted,
    ResourceError,
    UsageError,
    nearest,
    unknown,
)


def test_a_message_is_one_line_of_file_place_rule_remedy() -> None:
    error = DataError("expected UTF-8,\nfound byte 0xff", file="a.txt", place="byte 7", remedy="save it as UTF-8")
    assert str(error) == "a.txt:byte 7: expected UTF-8, found byte 0xff; save it as UTF-8"
    assert str(UsageError("no such recipe")) == "no such recipe"
    assert (error.file, error.place, error.remedy) == ("a.txt", "byte 7", "save it as UTF-8")


@pytest.mark.parametrize(
    ("kind", "code"),
    [(UsageError, 2), (DataError, 3), (ArtefactError, 4), (ResourceError, 5), (DivergedError, 6), (Preempted, 75)],
)
def test_exit_codes(kind: type[ForetextError], code: int) -> None:
    assert kind("x").exit_code == code == ExitCode(code)
    assert issubclass(kind, ForetextError)


def test_the_nearest_name_is_offered() -> None:
    assert nearest("bert-bse", ["bert-base", "word2vec"]) == "bert-base"
    assert nearest("BERT-Base", ["bert-base"]) == "bert-base"
    assert nearest("zzz", ["bert-base"]) is None
    error = unknown("recipe", "bert-bse", ["bert-base", "word2vec"])
    assert error.message == "unknown recipe 'bert-bse'; did you mean 'bert-base'? known: bert-base, word2vec"
