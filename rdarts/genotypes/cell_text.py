"""What stands in the official text of a cell, read as data; nothing of it is evaluated."""

from __future__ import annotations

import ast
import contextlib
import re
from typing import Any

from rdarts.errors import UserError
from rdarts.genotypes.form import as_index, as_name, find_space

MAX_NODES = 1000  # of a cell, so that its range(...) stays small
NUMPY = re.compile(r'(?:np|numpy)\.(?:u?int\d*|int_|intp|str_)')


def by_target(
    cell: str, entries: list[list[Any]], concat: tuple[int, ...], space: str
) -> tuple[tuple[tuple[str, int], ...], ...]:
    """The nodes of entries (operation, target, source); see :class:`CellGenotype`.

    Raises:
        UserError: A target is no node of the cell.
        TypeError, ValueError: An entry is something else.
    """
    found = [(as_name(op), as_index(target), as_index(source)) for op, target, source in entries]
    first = min(concat)
    with contextlib.suppress(UserError):  # a space that the reader knows, and this does not
        first = (
            find_space(space).cells[cell].num_inputs if cell in find_space(space).cells else first
        )
    last = max(max(concat), first)
    if last >= MAX_NODES:
        raise UserError(f"genotype, cell '{cell}': {last} nodes are more than {MAX_NODES}")
    for _, target, _ in found:
        if not first <= target <= last:
            raise UserError(
                f"genotype, cell '{cell}': an edge leads to node {target}, which is not one of "
                f'{first} to {last}'
            )
    return tuple(
        tuple((name, source) for name, target, source in found if target == node)
        for node in range(first, last + 1)
    )


def written(node: ast.AST) -> Any:
    """What an expression says, where it is data as Python or numpy print it; nothing is called.

    Raises:
        ValueError: It is anything else.
        UserError: The bounds of a range are no integers.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [written(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -as_index(written(node.operand))
    if not isinstance(node, ast.Call) or node.keywords:
        raise ValueError
    name, args = ast.unparse(node.func), [written(arg) for arg in node.args]
    if name == 'range' and len(args) == 2:
        first, last = map(as_index, args)
        if 0 <= first < last <= MAX_NODES:
            return list(range(first, last))
    elif name in ('list', 'tuple') and len(args) == 1 and isinstance(args[0], list):
        return args[0]
    elif NUMPY.fullmatch(name) and len(args) == 1 and type(args[0]) in (int, str):
        return args[0]
    raise ValueError
