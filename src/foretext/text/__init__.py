"""Text: corpora, sentences, words, tokenizers, the token store, and the corpus doctor."""
