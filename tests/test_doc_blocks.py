"""Every block of code of the pages: run as it stands, or its arguments read, or said why not."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
from doc_blocks import OURS, blocks, tool_and_arguments
from helpers import run_tool

from rdarts.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
AS_THEY_STAND = [block for block in BLOCKS if block.said == 'run: as-is']
SHELL = {'|', '>', '<', '&&', ';', '2>', '&'}


@cache
def other_tests() -> str:
    """The text of all tests, which use the examples of the pages."""
    found = sorted((ROOT / 'tests').rglob('test_*.py'))
    return ''.join(path.read_text(encoding='utf-8') for path in found if path != Path(__file__))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_each_block_says_how_it_is_tested(page):
    """A block of our commands alone is one whose arguments are read, and needs no comment."""
    for block in blocks(page):
        where = f'{page.name}, line {block.line}'
        kind, _, what = block.said.partition(': ')
        if kind == 'example':
            assert Path(what).name in other_tests() or page.name in other_tests(), where
        elif kind == 'run':
            assert what in ('as-is', 'arguments') or re.fullmatch(r'no, .+', what), where
        else:
            assert block.language == 'text' or block.ours, f'{where}: no class'
        if block.language == 'python':
            compile(block.text, where, 'exec')


@cache
def parser_of(tool: str):
    """``parse_args`` of a tool, without what the tool imports after it."""
    path = ROOT / 'tools' / tool
    tree = ast.parse(path.read_text(encoding='utf-8'))
    start = next(i for i, node in enumerate(tree.body) if isinstance(node, ast.If))
    tree.body = tree.body[:start]
    names: dict = dict(__name__='tool', __file__=str(path))
    sys.path.insert(0, str(path.parent))  # as for a script
    exec(compile(tree, str(path), 'exec'), names)
    sys.path.remove(str(path.parent))
    return names['parse_args']


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_tools_take_the_arguments_that_the_page_gives(page, monkeypatch, capsys):
    """By the tool's own parser; files that the command reads need not be there."""
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    for block in blocks(page):
        if not block.ours and block.said != 'run: arguments':
            continue
        for command in block.commands:
            target = re.match(r'make ([\w-]+)', command)
            assert not target or re.search(rf'^{target[1]}:', makefile, re.MULTILINE), command
            if not OURS.match(command):
                continue
            tool, arguments = tool_and_arguments(command)
            cut = [place for place, word in enumerate(arguments) if word in SHELL]
            arguments = arguments[: min(cut, default=None)] if cut else arguments
            if tool.endswith('.sh'):
                assert (ROOT / 'tools' / tool).is_file(), command
                continue
            monkeypatch.setattr(sys, 'argv', [tool, *arguments])
            try:
                parser_of(tool)()
            except SystemExit as end:  # of --help
                assert end.code == 0, f'{page.name}: {command}: {capsys.readouterr().err}'
            except UserError as error:
                pytest.fail(f'{page.name}: {command}: {error}')


@pytest.mark.parametrize(
    'block', AS_THEY_STAND, ids=lambda block: f'{block.page.name}:{block.line}'
)
def test_blocks_run_as_they_stand(block, tmp_path):
    for command in block.commands:
        tool, arguments = tool_and_arguments(command)
        done = run_tool([tool, *arguments], cwd=tmp_path)
        assert done.code == 0, f'{shlex.join(arguments)}: {done.err}'
        assert done.out
