"""The four rules, and that a stream may be cut anywhere."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.text.normalize import breaks, clean, clean_chunks, normalized, surrogates, without_surrogates

MESSY = st.text(alphabet=st.sampled_from("a。\r\n\t\x00\x07\x7f\ufeff\x85\u2028\u2029\x0b\x0cé"), max_size=30)


def test_each_rule_by_example() -> None:
    assert clean("\ufeffa\ufeffb") == "ab"
    assert clean("a\r\nb\rc\n\r") == "a\nb\nc\n\n"
    assert clean("a\x00b\x07c\x7f\td") == "abc\td"
    assert breaks("a\x0bb\x0cc\x85d\u2028e\u2029f") == "a\nb\nc\nd\ne\nf"
    assert normalized("\ufeff一\r\n二\u2028三\x00") == "一\n二\n三"
    assert normalized("caf\x80é ‘’") == "caf\x80é ‘’"  # what a wrong encoding left is not hidden


def test_lone_surrogates_are_counted_and_replaced() -> None:
    assert surrogates("a\ud83db\udc00") == 2
    assert without_surrogates("a\ud83db") == "a\ufffdb"
    assert surrogates("😀") == 0


@settings(deadline=None, max_examples=200)
@given(MESSY, st.lists(st.integers(0, 30), max_size=5))
def test_a_stream_may_be_cut_anywhere(string: str, cuts: list[int]) -> None:
    places = sorted({min(cut, len(string)) for cut in cuts} | {0, len(string)})
    chunks = [string[a:b] for a, b in pairwise(places)]
    pieces = list(clean_chunks(chunks))
    assert "".join(piece for piece, _ in pieces) == clean(string)
    without_crlf = string.replace("\r\n", "\n")
    assert sum(dropped for _, dropped in pieces) == len(without_crlf) - len(clean(string))


@settings(deadline=None, max_examples=100)
@given(MESSY)
def test_normalising_twice_changes_nothing(string: str) -> None:
    assert normalized(normalized(string)) == normalized(string)


@settings(deadline=None, max_examples=200)
@given(MESSY | st.text(max_size=20), st.sampled_from(["", "\ud83d"]))
def test_the_quick_look_misses_nothing(string: str, half: str) -> None:
    """Rules 1, 3 and 4 character by character."""
    string = (string + half).replace("\r", "")
    dropped = {*map(chr, range(0x20)), "\x7f", "\ufeff"} - {*"\t\n\x0b\x0c"}
    assert clean(string) == "".join(c for c in string if c not in dropped)
    assert breaks(string) == "".join("\n" if c in "\x0b\x0c\x85\u2028\u2029" else c for c in string)
