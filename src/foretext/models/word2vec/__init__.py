"""Skip-gram with negative sampling: the family whose loss and kernel live in one room (Mikolov et al. 2013)."""
