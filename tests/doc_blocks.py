"""The code blocks of the pages, and how each of them is tested."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rdarts.console.subcommands import SUBCOMMANDS

CLASS = re.compile(r'<!-- (run|example): (.*?) -->')
FENCE = re.compile(r'```(\w*)')
OURS = re.compile(r'(?:\w+=\S+ )*(?:(?:python )?tools/[\w/]+\.(?:py|sh)\b|rdarts [a-z])')
VARIABLE = re.compile(r'^(\w+)="([^"]*)"$', re.MULTILINE)
SETTING = re.compile(r'export(?: \w+=\S+)+(?: *#.*)?')


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Args:
        page (Path): The page.
        line (int): Where it begins, counted from 1.
        language (str): Of a fence; ``'indented'`` without one.
        text (str): What is in it.
        said (str): What the comment above it says: ``'run: no, why'``, ``'example: a.py'``, or
            nothing.
    """

    page: Path
    line: int
    language: str
    text: str
    said: str = ''

    @property
    def commands(self) -> list[str]:
        """Its lines, those that go on in the next one joined, without comments and exports.

        What a variable of the block stands for is put in its place.
        """
        text = self.text.replace('\\\n', ' ')
        for name, value in VARIABLE.findall(text):
            text = text.replace(f'${name}', value.replace('\n', ' '))
        lines = map(str.strip, VARIABLE.sub('', text).splitlines())
        return [line for line in lines if line and line[0] != '#' and not SETTING.fullmatch(line)]

    @property
    def ours(self) -> bool:
        """Whether every line is a command of this project."""
        return bool(self.commands) and all(OURS.match(line) for line in self.commands)


def blocks(page: Path) -> Iterator[Block]:
    """Every block of a page, fenced or indented; those of lists and comments are none."""
    lines = page.read_text(encoding='utf-8').splitlines()
    place, listed, before = 0, False, ''
    while place < len(lines):
        line, start = lines[place], place
        fence = FENCE.fullmatch(line)
        if fence:
            place = next(i for i in range(place + 1, len(lines)) if lines[i] == '```')
            text = '\n'.join(lines[start + 1 : place])
            yield Block(page, start + 1, fence[1] or 'text', text, _said(before))
        elif line.startswith('    ') and line.strip() and not listed:
            end = place
            while end < len(lines) and (lines[end].startswith('    ') or not lines[end].strip()):
                end += 1
            text = '\n'.join(one[4:] for one in lines[start:end]).rstrip()
            yield Block(page, start + 1, 'indented', text, _said(before))
            place = end - 1
        elif line.strip():
            listed = bool(re.match(r'(?:[-*]|\d+\.) ', line)) or (listed and line.startswith(' '))
        if line.strip():
            before = line
        place += 1


def _said(before: str) -> str:
    found = CLASS.fullmatch(before.strip())
    return f'{found[1]}: {found[2]}' if found else ''


def tool_and_arguments(command: str) -> tuple[str, list[str]]:
    """The tool of a command of ours, by its path in ``tools``, and its arguments.

    The output of another command is one argument.
    """
    words = shlex.split(re.sub(r'\$\(.*\)', 'OUTPUT', command), comments=True)
    while '=' in words[0]:
        del words[0]
    if words[0] == 'rdarts':
        return SUBCOMMANDS[words[1]].tool, words[2:]
    words = words[1:] if words[0] == 'python' else words
    return words[0].removeprefix('tools/'), words[1:]
