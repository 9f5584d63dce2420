"""The arithmetic that families share; a family's model.py only assembles it."""
