"""From token store to batches: windows over running text, rendered examples, rectangles of numpy arrays."""
