"""One conformance suite for every family and task: each check is a function over a row of `rows`.

`PYTHONPATH=tests python -m conformance` prints the matrix. Nothing here is collected by pytest but `test_*.py`.
"""
