"""Equations become MathML while the site is built, which browsers draw without a script."""

import html
import re

from latex2mathml.converter import convert

_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Replace what the arithmatex extension leaves of ``$...$`` and ``$$...$$``."""
    return _EQUATION.sub(_mathml, content)


def _mathml(equation: re.Match[str]) -> str:
    display = "block" if equation[1] == "div" else "inline"
    return convert(html.unescape(equation[2]).strip(), display=display)
