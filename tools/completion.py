"""Print what a shell has to read to complete `rdarts`: subcommands, options, configs, genotypes.

bash: eval "$(rdarts completion bash)" in ~/.bashrc; zsh: the same with zsh, in ~/.zshrc after
compinit.
"""

from __future__ import annotations

import argparse
import sys

from rdarts import cli
from rdarts.console.completion import SHELLS, shell_script


def parse_args() -> argparse.Namespace:
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('shell', choices=SHELLS)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)


def main() -> None:
    print(shell_script(parse_args().shell), end='')


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
