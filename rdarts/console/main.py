"""``rdarts SUBCOMMAND ...``: runs a tool of ``tools/`` as Python runs a script.

Nothing slow is imported before the tool has read its arguments.
"""

from __future__ import annotations

from rdarts.utils.ctrl_c import end_quietly

ABOUT = """usage: rdarts SUBCOMMAND ...

Differentiable architecture search. Subcommands:

{subcommands}

rdarts SUBCOMMAND --help lists its arguments, rdarts --version the version.
"""


def main() -> int:
    """Run the subcommand that the arguments of this process name.

    Returns:
        int: The exit code, see :func:`rdarts.cli.run_guarded`.
    """
    end_quietly()
    import os
    import sys

    from rdarts import cli
    from rdarts.utils.option_parser import COMPLETES

    if COMPLETES in os.environ:
        from rdarts.console.completion import answer

        name = answer()
        return _run_as_script(_find_tool(name), name, [])
    words = sys.argv[1:]
    if not words or words[0].startswith('-'):
        return cli.run_guarded(lambda: _about(words))
    name, *arguments = words
    tools: list[str] = []
    code = cli.run_guarded(lambda: tools.append(_find_tool(name)))
    return code or _run_as_script(tools[0], name, arguments)


def _about(options: list[str]) -> None:
    """Print what there is, or the version.

    Raises:
        UserError: An option is unknown.
    """
    from rdarts import __version__
    from rdarts.console.subcommands import SUBCOMMANDS
    from rdarts.errors import UserError, nearest

    known = ('-h', '--help', '--version')
    for option in options[:1]:
        if option not in known:
            raise UserError(f'no option {option} before a subcommand: {nearest(option, known)}')
    if options[:1] == ['--version']:
        print(f'rdarts {__version__}')
        return
    width = max(map(len, SUBCOMMANDS))
    lines = [f'  {name:{width}}  {one.text}' for name, one in SUBCOMMANDS.items()]
    print(ABOUT.format(subcommands='\n'.join(lines)), end='')


def _find_tool(name: str) -> str:
    """The file of a subcommand.

    Raises:
        UserError: There is no such subcommand, or the installation lacks its tool.
    """
    from rdarts.console.subcommands import SUBCOMMANDS
    from rdarts.errors import UserError, nearest
    from rdarts.utils.commands import TOOLS

    if name not in SUBCOMMANDS:
        raise UserError(f"no subcommand '{name}': {nearest(name, SUBCOMMANDS)}")
    path = TOOLS / SUBCOMMANDS[name].tool
    if not path.is_file():
        raise UserError('the tools of rdarts are missing: install it with pip')
    return str(path)


def _run_as_script(path: str, name: str, arguments: list[str]) -> int:
    """Be the tool until its end, as ``python path ...`` is; it calls itself ``rdarts name``.

    ``runpy`` would give it its file's name.
    """
    import os
    import sys
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    loader = SourceFileLoader('__main__', path)
    spec = spec_from_loader('__main__', loader)
    script = module_from_spec(spec)
    script.__spec__ = None  # of a script there is none, and multiprocessing asks
    sys.modules['__main__'] = script
    sys.argv = [f'rdarts {name}', *arguments]
    sys.path.insert(0, os.path.dirname(path))
    loader.exec_module(script)
    return 0
