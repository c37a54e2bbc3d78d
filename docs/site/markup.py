"""What the site changes of a page's text: comments for the tests, equations, rows of panels."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

FOR_TESTS = re.compile(r'^<!-- (?:run|example): .*? -->$', re.MULTILINE)
EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take out what tests read; the tutorial is a page there, and a script in the repository."""
    return FOR_TESTS.sub('', markdown).replace('tutorial.py)', 'tutorial.md)')


def on_page_content(html: str, **_: Any) -> str:
    """Turn LaTeX into MathML, which browsers show without a script or a font of its own."""
    return EQUATION.sub(_as_mathml, html)


def _as_mathml(found: re.Match[str]) -> str:
    block = found['tag'] == 'div'
    return convert(unescape(found['latex']).strip(), display='block' if block else 'inline')
