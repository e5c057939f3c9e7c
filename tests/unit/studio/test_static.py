"""The page's own files: everything that it asks for is there, and its texts can be read in both themes."""

import re
from importlib.resources import files

import pytest

from unbraid.report.style import mode_color

STATIC = files("unbraid.studio") / "static"
STYLE = (STATIC / "style.css").read_text()
# ink on paper: body text, muted text, links, buttons, warnings, errors, and the message at the foot of the page
PAIRS = [("ink", "paper"), ("ink", "card"), ("muted", "paper"), ("muted", "card"), ("accent", "card")]
PAIRS += [("accent-ink", "accent"), ("warn", "warn-paper"), ("ink", "soft"), ("paper", "ink"), ("paper", "error")]


def colours(selector):
    """The colours that a rule sets, by name."""
    rule = re.search(re.escape(selector) + r" \{(.*?)\}", STYLE, re.DOTALL)
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", rule.group(1)))


def luminance(colour):
    """Source: WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("selector", [":root", ':root:not([data-theme="light"])', ':root[data-theme="dark"]'])
@pytest.mark.parametrize(("ink", "paper"), PAIRS)
def test_texts_have_the_contrast_of_wcag_aa(selector, ink, paper):
    known = colours(selector)
    assert contrast(known[ink], known[paper]) >= 4.5


@pytest.mark.parametrize("selector", [":root", ':root[data-theme="dark"]'])
@pytest.mark.parametrize("ground", ["card", "paper", "soft", "arena", "ground"])
@pytest.mark.parametrize("edge", ["muted", "ink"])
def test_the_edge_of_every_graphic_has_the_contrast_of_wcag_aa(selector, ground, edge):
    """Modes have one colour in both themes, and some are pale, some dark: what stands out is the edge around it."""
    known = colours(selector)
    assert contrast(known[edge], known[ground]) >= 3


def test_colours_of_modes_are_drawn_with_an_edge_where_they_do_not_stand_out_themselves():
    grounds = [colours(s)[g] for s in (":root", ':root[data-theme="dark"]') for g in ("card", "arena")]
    assert any(contrast(mode_color(k), ground) < 3 for k in range(8) for ground in grounds)
    for name in ("demos.js", "steer.js", "marks.js"):  # bars
        assert "framed(" in (STATIC / name).read_text()
    for name in ("scene.js", "train.js"):  # a line in a mode's colour is `edged`, never stroked by itself
        text = (STATIC / name).read_text()
        assert "edged(" in text
        assert not re.search(r"strokeStyle = [^;]*(?:\.color|COLORS)", text)
    assert re.search(r"canvas\.swatch \{[^}]*outline: 1px solid var\(--muted\)", STYLE)


def test_both_ways_to_the_dark_theme_are_one():
    assert colours(':root:not([data-theme="light"])') == colours(':root[data-theme="dark"]')


def test_what_the_page_and_its_modules_ask_for_is_there_and_nothing_from_elsewhere():
    for file in STATIC.iterdir():
        text = file.read_text()
        for name in re.findall(r'from "\./([^"]+)"', text) + re.findall(r'"/static/([^"]+)"', text):
            assert (STATIC / name).is_file(), f"{file.name} asks for {name}"
        assert "http://" not in text.replace("http://www.w3.org/", "")
        assert "https://" not in text
        assert "innerHTML" not in text  # names and notes are texts, whatever they hold
