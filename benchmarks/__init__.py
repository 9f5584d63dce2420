"""Speed, measured beside correctness; run by `make bench`. No timed tests: figures are printed and written as JSON."""
