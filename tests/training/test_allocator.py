import subprocess
import sys

import pytest

CODE = """
import resource, torch
from foretext.training.allocator import keep_large_buffers
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(9 << 20)  # 36 MB, more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
assert keep_large_buffers()
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_pages_are_kept() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True, text=True)
    before, after = map(int, done.stdout.split())
    assert after * 20 < before, f"page faults of 20 buffers: {before}, and {after} once they are kept"
