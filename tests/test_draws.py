import subprocess
import sys

import numpy as np

from foretext.draws import generator, number


def test_a_draw_is_a_function_of_its_arguments() -> None:
    assert np.array_equal(generator(1, "mask", 2, 3).random(5), generator(1, "mask", 2, 3).random(5))
    seen = {number(*key) for key in [(1, "mask", 2, 3), (2, "mask", 2, 3), (1, "pairs", 2, 3), (1, "mask", 3, 2), (1, "mask", 23)]}
    assert len(seen) == 5
    assert all(0 <= n < 2**63 for n in seen)


def test_another_process_draws_the_same() -> None:
    code = "from foretext.draws import number; print(number(7, 'x', 1))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env={"PYTHONHASHSEED": "5", "PYTHONPATH": ":".join(sys.path)})
    assert int(found.stdout) == number(7, "x", 1)


def test_draws_of_neighbouring_counters_are_independent() -> None:
    first = np.array([generator(0, "u", n).random() for n in range(2000)])
    assert abs(first.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.07
