"""What griffe does not know of our docstrings: Sphinx's roles (links), two errors in one field, fields inside a line."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|data|func|meth|mod):`([\w.]+)`")
_TWO_ERRORS = re.compile(r"(?<=:raises )(\w+), (\w+):")
_FIELD_INSIDE_A_LINE = re.compile(r"(?<=\S)[;,]? (?=:(?:param \w+|return):)")


class SphinxMarkup(griffe.Extension):
    """Applied to every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = _FIELD_INSIDE_A_LINE.sub("\n", obj.docstring.value)
            text = _TWO_ERRORS.sub(r"\1|\2:", text)
            obj.docstring.value = _ROLE.sub(r"[`\1`][\1]", text)
