"""In and out of other layouts, verified by reading back."""
