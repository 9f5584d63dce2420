"""Speed beside the peers, measured beside correctness: `make bench`, or one module at a time (`python -m benchmarks.mlm`).

No timed tests: figures are printed, and written as cells (`cells.py`) from which `render.py` makes docs/benchmarks.md.
"""
