"""What a shell completes: subcommands, options, and names of configs and published genotypes.

The shell's script, which is argcomplete's, runs the command once more at each completion, with
what was typed in the environment; the parser that it reaches answers
(:mod:`rdarts.utils.option_parser`). An argument's ``completer`` gives its names
(:mod:`rdarts.console.completers`); one without, and a beginning that no name has, are completed as
files.
"""

from __future__ import annotations

import os

from rdarts.console.subcommands import SUBCOMMANDS
from rdarts.errors import UserError
from rdarts.utils.option_parser import COMPLETES, Parser

SHELLS = ('bash', 'zsh')


def shell_script(shell: str) -> str:
    """What a shell has to read so that it completes ``rdarts``.

    Args:
        shell (str): One of :data:`SHELLS`.

    Raises:
        UserError: argcomplete is not installed.
    """
    try:
        import argcomplete
    except ImportError:
        raise UserError('completion needs argcomplete: pip install argcomplete') from None
    return argcomplete.shellcode(['rdarts'], shell=shell)


def answer() -> str:
    """Answer a shell's request for a subcommand, and end; or say whose tool is to answer it.

    Returns:
        str: A subcommand, whose parser then takes the words that follow it.
    """
    try:
        import argcomplete
    except ImportError:
        os._exit(1)

    line, point = os.environ['COMP_LINE'], int(os.environ['COMP_POINT'])
    words = argcomplete.split_line(line, point)[3]  # those before the one that is completed
    place = int(os.environ[COMPLETES])
    if len(words) > place and words[place] in SUBCOMMANDS:
        os.environ[COMPLETES] = str(place + 1)
        return words[place]
    parser = Parser(prog='rdarts')
    parser.add_argument('--version', action='store_true', help='print the version')
    subcommand = parser.add_argument('subcommand')
    subcommand.completer = lambda **_: {name: one.text for name, one in SUBCOMMANDS.items()}
    return parser.parse_args().subcommand
