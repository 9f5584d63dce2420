"""BERT: a bidirectional Transformer encoder (Devlin et al. 2019)."""
