import subprocess
import sys

import pytest

CODE = """
import resource, torch
from foretext.training.allocator import keep_large_buffers
torch.set_num_threads(1)
if {keep}:
    assert keep_large_buffers()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16 << 20)  # 64 MB, more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_pages_are_kept() -> None:
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, check=True, text=True
            ).stdout
        )
        for keep in (True, False)
    ]
    assert faults[0] * 20 < faults[1], f"page faults of 20 buffers: {faults[0]} kept, {faults[1]} not"
