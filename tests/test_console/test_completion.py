"""What bash and zsh complete, asked of the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from helpers import TOOLS

from rdarts.console.subcommands import SUBCOMMANDS
from rdarts.genotypes import published_names

BASH = r"""
eval "$(rdarts completion bash)"
for COMP_LINE; do
    COMP_POINT=${#COMP_LINE} COMP_TYPE=9 COMP_WORDS=($COMP_LINE)
    [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    name=$(complete -p rdarts | sed 's/.*-F \([^ ]*\) .*/\1/')
    $name rdarts "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2> /dev/null
    (IFS=$'\t'; printf '%s\n' "${COMPREPLY[*]}")
done
"""
ZSH = r"""
autoload -U compinit && compinit -u -d "$PWD/dump"
eval "$(rdarts completion zsh)"
_describe() { print -r -- ${(pj:\t:)completions} }
for BUFFER; do
    CURSOR=$#BUFFER words=(${(z)BUFFER})
    $_comps[rdarts]
done
"""


def command_in(folder):
    """The environment in which ``rdarts`` is a command."""
    path = folder / 'rdarts'
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m rdarts "$@"\n')
    path.chmod(0o755)
    env = {key: value for key, value in os.environ.items() if key != 'RDARTS_DATA'}
    python = os.pathsep.join(filter(None, (str(TOOLS.parent), os.environ.get('PYTHONPATH'))))
    return dict(env, PATH=f'{folder}:{os.environ["PATH"]}', PYTHONPATH=python)


def completed(shell, folder, *lines):
    """What a shell completes each line with: a list of words each."""
    script = BASH if shell == 'bash' else ZSH
    done = subprocess.run(
        [shell, *(['-f'] if shell == 'zsh' else []), '-c', script, shell, *lines],
        cwd=folder,
        env=command_in(folder),
        capture_output=True,
        text=True,
    )
    rows = done.stdout.splitlines()
    assert len(rows) == len(lines), done.stderr
    return [sorted(filter(None, row.split('\t'))) for row in rows]


def test_bash(tmp_path):
    (tmp_path / 'configs').symlink_to(TOOLS.parent / 'configs')
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run.txt').touch()
    lines = {
        'rdarts ': sorted(SUBCOMMANDS),
        'rdarts comp': ['compare', 'compare-cells', 'completion', 'complexity'],
        'rdarts search --wo': ['--work-dir '],
        'rdarts search x.py --amp ': ['bf16', 'fp16'],
        # by name: composed ones; those with a variant once the name is there; of its own folder
        'rdarts search gdas_nb201_c10': ['gdas_nb201_c10', 'gdas_nb201_c100'],
        'rdarts search rdarts_nb201_c10_l': ['rdarts_nb201_c10_l050 '],
        'rdarts retrain nb201_c10': ['nb201_c10', 'nb201_c100'],
        'rdarts detect retinanet_nb201_fpn_1x_c': ['retinanet_nb201_fpn_1x_coco '],
        # by path
        'rdarts search configs/search/gdas_nb201_d': ['configs/search/gdas_nb201_digits.py '],
        'rdarts search conf': ['configs/'],
        'rdarts retrain darts_c10 --genotype DARTS_': ['DARTS_V1', 'DARTS_V2'],
        'rdarts draw ': sorted([*published_names(), 'configs/', 'rdarts', 'run.txt', 'run/']),
        'rdarts configs nb': ['nb201 '],
        'rdarts completion b': ['bash '],
    }
    found = dict(zip(lines, completed('bash', tmp_path, *lines), strict=True))
    suppressed = {line: [word.rstrip() for word in words] for line, words in found.items()}
    assert suppressed == {line: [word.rstrip() for word in words] for line, words in lines.items()}


@pytest.mark.skipif(shutil.which('zsh') is None, reason='zsh is not installed')
def test_zsh(tmp_path):
    lines = ('rdarts comp', 'rdarts search rdarts_nb201_d', 'rdarts search --wo')
    found = completed('zsh', tmp_path, *lines)
    named = [{name: text for name, _, text in (w.partition(':') for w in words)} for words in found]
    names = ['compare', 'compare-cells', 'completion', 'complexity']
    assert [sorted(words) for words in named] == [names, ['rdarts_nb201_digits'], ['--work-dir']]
    assert named[0] == {name: SUBCOMMANDS[name].text for name in names}


def test_another_shell_is_refused():
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'completion.py'), 'fish'], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith("error: argument shell: invalid choice: 'fish'")
    assert len(done.stderr.splitlines()) == 1
