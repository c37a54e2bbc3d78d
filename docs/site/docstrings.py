"""Docstrings in Markdown: they are written with the roles and equations of reStructuredText."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe

ROLE = re.compile(r':\w+:`~?([\w.]+)(?: <[^`]*>)?`')
INLINE = re.compile(r':math:`([^`]*)`')
BLOCK = re.compile(
    r'^(?P<indent> *)\.\. math::(?P<first>.*)\n(?P<rest>(?:(?P=indent) +\S.*\n|\n)*)', re.M
)


class Markdown(griffe.Extension):
    """Turns the docstring of everything that is loaded into Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """See :class:`griffe.Extension`."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring's roles as code, its equations between dollars."""
    text = BLOCK.sub(_equation, text + '\n')
    text = INLINE.sub(lambda found: f'${" ".join(found[1].split())}$', text)
    text = ROLE.sub(lambda found: f'`{found[1].rpartition(".")[2]}`', text)
    return text.replace('``', '`').rstrip('\n')


def _equation(found: re.Match[str]) -> str:
    lines = [found['first'].strip(), *dedent(found['rest']).strip().splitlines()]
    body = ' '.join(line.strip() for line in lines if line.strip())
    indent = found['indent']
    return f'\n{indent}$$\n{indent}{body}\n{indent}$$\n\n'
