"""GloVe: co-occurrences counted out of core, then weighted least squares (Pennington, Socher & Manning 2014)."""
