"""Unigram vocabularies, learnt by sentencepiece from counted words (Kudo 2018; Kudo and Richardson 2018)."""

import io
from collections.abc import Iterator, Sequence

from foretext.errors import DataError


def learn_unigram(words: Sequence[tuple[str, int]], room: int, coverage: float) -> list[tuple[str, float]]:
    """The pieces and log-probabilities that sentencepiece learns from `words` with their counts, at most `room`, most
    probable first. Its model file is not kept: this is all that encoding needs."""
    import sentencepiece

    learnt = sentencepiece.SentencePieceProcessor(model_proto=learn_model(words, room, coverage))
    entries = [(learnt.id_to_piece(number), learnt.get_score(number)) for number in range(3, learnt.get_piece_size())]
    return sorted(entries, key=lambda entry: (-entry[1], entry[0]))[:room]


def learn_model(words: Sequence[tuple[str, int]], room: int, coverage: float) -> bytes:
    """sentencepiece's model of `words` with their counts: `room` pieces, fewer if there are not so many.

    Words come folded and cut, so its own normalisation is switched off: it would move characters. One thread, so sums
    have one order and the result is always the same.
    """
    import sentencepiece

    def lines() -> Iterator[str]:
        for word, count in words:
            yield f"{word}\t{count}"

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines(),
            model_writer=model,
            model_type="unigram",
            input_format="tsv",
            vocab_size=room + 3,  # and its own three: unknown, start, end
            unk_id=0,
            bos_id=1,
            eos_id=2,
            hard_vocab_limit=False,
            character_coverage=coverage,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(f"sentencepiece could not learn a vocabulary: {error}", remedy="give more text") from error
    return model.getvalue()
