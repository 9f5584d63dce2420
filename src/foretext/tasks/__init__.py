"""The forms of labelled data: how it is read, what must be said about it, and how an answer is written. No family here."""
