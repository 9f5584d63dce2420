"""Wikipedia as it comes: WikiExtractor's `<doc …> … </doc>` files, and raw XML dumps (pages-articles).

Of a dump only articles are read (namespace 0, no redirects), and of an article only running text, as BERT's authors did
(Devlin et al. 2019, section 3.1: "we extract only the text passages and ignore lists, tables, and headers").
"""

import html
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from foretext.errors import DataError
from foretext.text.normalize import breaks
from foretext.text.readers import Counts, Errors, Paragraph, decoded, field_paragraphs, lines
from foretext.text.sources import Source

_OPEN = re.compile(r"<doc\s[^>]*>")
_TITLE = re.compile(r'\stitle="([^"]*)"')


def is_extracted(sample: str) -> bool:
    """Whether a file starts as WikiExtractor's files do."""
    return _OPEN.match(sample.lstrip()) is not None


def is_dump(sample: str) -> bool:
    """Whether a file starts as a MediaWiki XML dump does."""
    head = sample.lstrip()[:2000]
    return head.startswith(("<mediawiki", "<?xml")) and "<mediawiki" in head


def extracted(source: Source, errors: Errors, counts: Counts, start: int = 0) -> Iterator[Paragraph]:
    """A `<doc>` is a document, a line a paragraph; from line `start` on, where a document's text starts. The first line is left out where it only repeats the title, and
    `&lt;` and the like become the characters they stand for."""
    first, title, empty, inside = True, "", False, False
    for number, line, _ in lines(map(breaks, decoded(source, errors, counts)), counts, start):
        string = line.strip()
        if string.startswith("<doc ") and _OPEN.fullmatch(string):
            found = _TITLE.search(string)
            title = html.unescape(found.group(1)).strip() if found else ""
            first, empty, inside = True, True, True
        elif string == "</doc>":
            counts.empty += empty
            first, empty, inside = True, False, False
        elif string:
            string = html.unescape(string) if "&" in string else string
            if inside and title and string == title:
                title = ""
                continue
            title = ""
            yield first, number, string
            first = empty = False


def dump(source: Source, errors: Errors, counts: Counts, start: int = 0) -> Iterator[Paragraph]:
    """Articles of a raw dump, one page in memory at a time; a paragraph's "line" is its page's
    number in the file, from 1.

    `start`: the first page wanted; those before are passed over without reading their markup, which is the slow part. Broken XML is a DataError that names the line."""
    parser: Any = ElementTree.XMLPullParser(["start", "end"])
    root: Any = None
    number = 0
    unwanted: frozenset[str] = frozenset({"file", "image", "category"})
    try:
        for chunk in decoded(source, errors, counts):
            parser.feed(chunk)
            for event, element in parser.read_events():
                root = element if root is None else root
                name = str(element.tag).rpartition("}")[2]
                if event == "end" and name == "namespaces":
                    unwanted |= {(one.text or "").lower() for one in element if one.get("key") in ("6", "14")}
                elif event == "end" and name == "page":
                    number += 1
                    if number >= start:
                        yield from _page(element, number, unwanted, counts)
                    root.clear()
        parser.close()
    except ElementTree.ParseError as error:
        raise DataError(
            f"expected a MediaWiki XML dump ({error.msg.rpartition(':')[0] or error.msg})",
            file=source.name,
            place=f"line {error.position[0]}",
            remedy="cut short? fetch the dump again",
        ) from error


def _page(page: Any, number: int, unwanted: frozenset[str], counts: Counts) -> Iterator[Paragraph]:
    parts = {str(part.tag).rpartition("}")[2]: part for part in page.iter()}
    space = parts["ns"].text if "ns" in parts else "0"
    if (space or "0").strip() != "0" or "redirect" in parts:
        counts.redirects += 1
        return
    markup = (parts["text"].text or "") if "text" in parts else ""
    first = True
    for _, _, string in field_paragraphs(running_text(markup, unwanted), number, 0, counts):
        yield first, number, string
        first = False
    counts.empty += first


_DROPPED_TAGS = frozenset({"ref", "references", "table", "gallery", "math", "timeline", "imagemap", "syntaxhighlight",
                           "source", "score", "hiero", "chem", "code", "pre", "style"})  # fmt: skip
_REFERENCE = re.compile(r"(<!--)|<ref\b[^<>]*+(/>|>)", re.IGNORECASE)
_REFERENCE_END = re.compile(r"</ref\s*+>", re.IGNORECASE)
_LEFT = re.compile(
    r"^[ \t]*(?:\{\||\|[-}+]?|!).*$|__[A-Z]+__|\[\[|\]\]|'{2,}|<[^>\n]{0,200}>|^thumb\|.*$", re.MULTILINE
)
_LIST = "\x01"
"""Stands for a list item's mark; no corpus text holds it (`normalize`, rule 3)."""
_BRACKETS = re.compile(r"[（(][\s,;，；、]*[)）]")


def running_text(markup: str, unwanted: frozenset[str] = frozenset({"file", "image", "category"})) -> str:
    """Wiki markup to plain paragraphs, one a line: no templates, tables, references, headings, lists, pictures or
    categories. `unwanted`: lower-case link prefixes whose links vanish whole."""
    import mwparserfromhell

    plain = _without_open_templates(_without_tables(_without_references(markup)))
    code = mwparserfromhell.parse(plain, skip_style_tags=True)
    text = "".join(_visible(node, unwanted) for node in code.nodes)
    rows = (_BRACKETS.sub("", _LEFT.sub("", row)).strip() for row in text.split("\n"))
    return "\n".join(row for row in rows if row and row[0] not in "*#:;" + _LIST)


def _visible(node: Any, unwanted: frozenset[str]) -> str:
    """What a reader sees of one top-level node, headings left out. (Wikicode.strip_code would do, but to take nodes out
    before it is quadratic in the length of the article.)"""
    kind = type(node).__name__
    if kind in ("Template", "Heading"):
        return ""
    if kind == "Tag":
        tag = str(node.tag).strip().lower()
        if tag in _DROPPED_TAGS:
            return ""
        if node.wiki_markup and tag in ("li", "dt", "dd"):
            return _LIST
    elif kind == "Wikilink":
        prefix, colon, _ = str(node.title).strip().partition(":")
        if colon and prefix.strip().lower() in unwanted:
            return ""
    return str(node.__strip__(normalize=True, collapse=True, keep_template_params=False) or "")


def _without_references(markup: str) -> str:
    """Comments and references out. The end of one that is never closed is looked for once: a search to the end of the
    article from each of them would be quadratic. Such a reference stays, and of such a comment its mark alone goes,
    because the parser would search too."""
    kept: list[str] = []
    at = done = 0
    endless = {"<!--": False, "<ref": False}
    while (found := _REFERENCE.search(markup, at)) is not None:
        at = found.end()
        if found.group(2) and found.group().endswith("/>"):
            stop = at
        else:
            kind = "<!--" if found.group(1) else "<ref"
            stop = -1 if endless[kind] else _end_of(markup, kind, at)
            endless[kind] = stop < 0
            stop = at if stop < 0 and kind == "<!--" else stop
        if stop >= 0:
            kept.append(markup[done : found.start()])
            at = done = stop
    return "".join(kept) + markup[done:]


def _end_of(markup: str, kind: str, at: int) -> int:
    if kind == "<!--":
        stop = markup.find("-->", at)
        return stop + 3 if stop >= 0 else -1
    end = _REFERENCE_END.search(markup, at)
    return end.end() if end else -1


_BRACES = re.compile(r"\{\{+|\}\}+")
_OPEN_TEMPLATES = 20
"""Templates left open that the parser may see."""


def _without_open_templates(markup: str) -> str:
    """Where many templates are never closed, their braces out: the parser tries each to the end of the article."""
    unclosed: list[re.Match[str]] = []
    for braces in _BRACES.finditer(markup):
        if braces.group()[0] == "{":
            unclosed.append(braces)
        elif unclosed:
            unclosed.pop()
    if len(unclosed) <= _OPEN_TEMPLATES:
        return markup
    kept, done = [], 0
    for braces in unclosed:
        kept.append(markup[done : braces.start()])
        done = braces.end()
    return "".join(kept) + markup[done:]


def _without_tables(markup: str) -> str:
    """Tables out, before parsing: the parser is slow on them, and quadratic on an unclosed one."""
    if "{|" not in markup:
        return markup
    kept: list[str] = []
    depth = 0
    for row in markup.split("\n"):
        opens = row.lstrip(" :\t").startswith("{|")
        depth += opens
        if not depth:
            kept.append(row)
        if depth and row.lstrip().startswith("|}"):
            depth -= 1
    return "\n".join(kept)
