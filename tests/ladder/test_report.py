"""The report: one page, from cells alone, nothing fetched, every text escaped."""

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.ladder import render
from foretext.ladder.forest import distances
from foretext.ladder.index import Index, cell_folder, write_index
from foretext.ladder.plot import efficiency, spread
from foretext.ladder.report import page
from foretext.ladder.table import build
from ladder.world import some_cells

EVIL = "<script>alert('x')</script>&\"'"


def index_of(keys: list[str], **changes: object) -> Index:
    return replace(Index(keys=tuple(keys), title="A title", command="make it"), **changes)  # type: ignore[arg-type]


class Outline(HTMLParser):
    """Every tag and attribute, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in ("meta", "rect", "line", "path", "circle", "polyline", "polygon", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.said += data


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    return parser


def test_page_is_whole_and_fetches_nothing() -> None:
    cells = some_cells()
    html = page(index_of([cell.key for cell in cells]), cells)
    seen = outline(html)
    assert seen.open == []
    assert seen.links == []
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert not re.search(r"@import|url\(", html)
    assert re.findall(r"https?://[^\"]+", html) == ["http://www.w3.org/2000/svg"] * seen.tags.count("svg")
    assert seen.tags.count("svg") == 2
    assert "Unfinished" not in html
    for told in ("word2vec · features", "TF-IDF + LR", "Test <CPU>", "make it", "No pretraining text holds a test text"):
        assert told in seen.said


def test_every_text_is_escaped() -> None:
    cells = [replace(cell, rung=EVIL) if cell.rung in ("tfidf", "word2vec") else cell for cell in some_cells()]
    cells = [replace(cell, machine={"processor": EVIL, "flags": [EVIL]}, versions={EVIL: EVIL}, notes={EVIL: 1}) for cell in cells]
    failed = replace(cells[-1], failed=EVIL, seed=77, key="other")
    words = {EVIL: EVIL}
    html = page(
        index_of(["k"], title=EVIL, command=EVIL, corpus=words, task=words, about={EVIL: EVIL, f"{EVIL} · features": EVIL}),
        [*cells, failed],
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 10
    seen = outline(html)
    assert seen.open == []
    assert "script" not in seen.tags
    assert EVIL in seen.said


def test_unfinished_and_transductive_are_said() -> None:
    cells = some_cells()
    html = page(index_of([*(cell.key for cell in cells), "still to come"], transductive=True), cells)
    assert "1 of 26 cells" in html
    assert "Transductive" in html


def test_pictures_are_well_formed_and_hold_their_numbers() -> None:
    table = build(some_cells())
    for picture in (efficiency(table), distances(table)):
        root = ElementTree.fromstring(picture)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for element in root.iter():
            for name, limit in (("x", width), ("cx", width), ("x1", width), ("y", height), ("cy", height), ("y1", height)):
                assert 0 <= float(element.attrib.get(name, 0)) <= limit
    titles = [e.text or "" for e in ElementTree.fromstring(efficiency(table)).iter() if e.tag.endswith("title")]
    best = table.rows[3].entries[5].score
    assert any(f"{100 * best.mean:.1f} %" in title and "word2vec · features, 5 labels" in title for title in titles)


def test_a_line_that_ends_early_is_tied_to_its_name_by_dots() -> None:
    cells = some_cells()
    last = max(cell.labels for cell in cells)
    few = [cell for cell in cells if cell.labels != last or cell.rung != "word2vec"]
    before, after = (efficiency(build(some)).count("stroke-dasharray:1 6") for some in (cells, few))
    assert after > before


def test_pictures_of_little() -> None:
    assert efficiency(build([])) == ""
    assert distances(build([])) == ""
    one = [cell for cell in some_cells() if cell.labels == 5 and cell.seed == 0]
    ElementTree.fromstring(efficiency(build(one)))
    only_majority = [cell for cell in one if cell.rung == "majority"]
    ElementTree.fromstring(efficiency(build(only_majority)))
    assert page(index_of([]), [])


@settings(deadline=None, max_examples=100)
@given(wanted=st.lists(st.floats(10, 300), max_size=12))
def test_names_never_touch(wanted: list[float]) -> None:
    places = spread(sorted(wanted), 18.0, 10, 400)
    assert all(b - a >= 17.9 for a, b in itertools.pairwise(places))


def test_rendering_reads_cells_and_nothing_else(tmp_path: Path) -> None:
    cells = some_cells()
    folder = cell_folder(tmp_path)
    for cell in cells:
        folder.write(cell)
    write_index(tmp_path, index_of([cell.key for cell in cells]))
    first = render(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in ("report.html", "table.csv", "table.json", "table.txt")}
    for name in before:
        (tmp_path / name).unlink()
    assert render(tmp_path).text() == first.text()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    folder.file(cells[-1].key).unlink()
    assert "Unfinished" in render(tmp_path).report.read_text()
