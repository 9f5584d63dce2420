"""The neural probabilistic language model."""
