from __future__ import annotations

import os
import shlex
import subprocess

from rdarts.utils.commands import command, shown_path


def test_paths_are_quoted_and_relative_where_shorter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / 'work' / 'a.json') == 'work/a.json'
    assert shown_path('moved é dir') == "'moved é dir'"
    assert shown_path('/usr') == '/usr'
    assert shown_path('-x') == './-x'
    assert shlex.split(shown_path("it's $HOME; rm *")) == ["it's $HOME; rm *"]


def test_a_command_is_what_a_shell_takes(tmp_path, monkeypatch):
    text = command('train.py', tmp_path / 'a b.py', '--cfg-options', 'x=a b')
    words = shlex.split(text)
    assert words[0] == 'python' and words[1].endswith('tools/train.py')
    assert os.path.abspath(words[2]) == str(tmp_path / 'a b.py')  # shown from here, where near
    assert words[3:] == ['--cfg-options', 'x=a b']


def test_names_that_are_no_text():
    name = os.fsdecode(b"a\xff'\n\\")
    shown = shown_path(name)
    assert shown.isascii() and shown.isprintable()
    printed = subprocess.run(['bash', '-c', f'printf %s {shown}'], capture_output=True, check=True)
    assert printed.stdout == os.fsencode(name)
