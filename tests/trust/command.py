"""Run a command as a user would, and hold a refusal to its contract."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from foretext.cli import main
from foretext.errors import ExitCode


def leave(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


def done(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Output and standard error of a command that must succeed."""
    code, out, err = leave(words, capsys)
    assert code == ExitCode.DONE, err
    return out, err


def refused(words: list[str], code: ExitCode, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that must fail with `code`: it holds `parts`, no traceback is shown, no file changed;
    with --debug the traceback stands before the same line, and the code is the same."""
    before = prints(Path.cwd())
    got, _, err = leave(words, capsys)
    lines = [line for line in err.splitlines() if line.startswith("foretext: ")]
    assert (got, len(lines)) == (code, 1), err
    assert err.splitlines()[-1] == lines[0], err
    assert "Traceback" not in err
    for part in parts:
        assert part in lines[0], lines[0]
    again, _, debug = leave([*words, "--debug"], capsys)
    assert again == code
    assert "Traceback" in debug
    assert debug.splitlines()[-1].startswith("foretext: ")
    assert prints(Path.cwd()) == before, "the inputs are as they were, and nothing was left behind"
    return lines[0]


def prints(folder: Path) -> Mapping[str, str]:
    """Digest of every file below `folder`; a run's own work folder (`….run`) is not an input."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    names = ((file, file.relative_to(folder).as_posix()) for file in files)
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for file, name in names if ".run/" not in name and not name.endswith(".lock")}
