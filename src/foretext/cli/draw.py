"""`map`, `curve`, `polysemy`: pictures, each with the figures it shows as text or JSON."""

from foretext.bundle import load_pretrained
from foretext.cli import options
from foretext.cli.output import note, say, write_json
from foretext.evaluation.canvas import checked_ending


def draw_map(chosen: options.Map) -> None:
    """Words and their neighbours on a plane."""
    from foretext.evaluation.maps import map_picture, word_map

    checked_ending(chosen.out)  # before anything is computed
    found = word_map(
        load_pretrained(chosen.pretrained), chosen.words, n=chosen.n, method=chosen.method, seed=chosen.seed, kind=chosen.index
    )
    for remark in map_picture(found, chosen.out):
        note(remark)
    write_json(found.as_json()) if chosen.json else say(found.text())


def curve(chosen: options.Curve) -> None:
    """A panel a run."""
    from foretext.evaluation.curve import curve_picture, read_curve

    if chosen.out is not None:
        checked_ending(chosen.out)
    curves = [read_curve(run) for run in chosen.runs]
    for remark in curve_picture(curves, chosen.out) if chosen.out is not None else []:
        note(remark)
    if chosen.json:
        write_json([one.as_json() for one in curves])
        return
    for one in curves:
        say(one.text())


def polysemy(chosen: options.Polysemy) -> None:
    """The uses of one word, sense by sense."""
    from foretext.evaluation.polysemy import polysemy, polysemy_picture

    if chosen.out is not None:
        checked_ending(chosen.out)
    found = polysemy(load_pretrained(chosen.pretrained), chosen.sentences, n=chosen.n)
    for remark in polysemy_picture(found, chosen.out) if chosen.out is not None else []:
        note(remark)
    write_json(found.as_json()) if chosen.json else say(found.text())
