"""What a figure was measured on: the processor, the libraries, and the memory a piece of work took."""

import contextlib
import importlib.metadata
import os
import platform
import resource
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foretext.types import JSON

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
"""Instruction sets that decide how fast the arithmetic is."""
_LIBRARIES = ("foretext", "torch", "numpy", "numba", "scikit-learn", "scipy", "tokenizers", "sentencepiece", "rjieba")


def machine() -> Mapping[str, JSON]:
    """Processor name, the instruction sets that matter, usable cores, memory in bytes, system."""
    info = _cpuinfo()
    have = set(info.get("flags", info.get("Features", "")).split())
    return {
        "processor": info.get("model name", platform.processor() or platform.machine()),
        "flags": [flag for flag in _FLAGS if flag in have],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> Mapping[str, str]:
    """Installed versions of the libraries that decide figures."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def reset_peak() -> None:
    """Forget this process's peak of resident memory so far, where the kernel allows it (Linux: clear_refs 5)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Peak resident memory of this process in bytes, since `reset_peak` where that worked, else since its start."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def circumstances() -> dict[str, Any]:
    """What every cell records besides its figures: peak memory, machine, versions, and when (UTC)."""
    return {
        "memory": peak(),
        "machine": machine(),
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpuinfo() -> dict[str, str]:
    info: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            info.setdefault(name.strip(), value.strip())
    return info
