"""The shell's miniature world (tiny.py), as a fixture."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def tiny():
    """The module tests/training/tiny.py."""
    spec = importlib.util.spec_from_file_location("foretext_tests_tiny", HERE / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
