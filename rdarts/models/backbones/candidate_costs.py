"""What each candidate of each edge of a supernet costs, summed over the cells of a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rdarts.errors import UserError
from rdarts.models.alpha import AlphaOwner
from rdarts.models.backbones.base_supernet import BaseSupernet
from rdarts.models.backbones.search_cell import SearchCell
from rdarts.models.layers import PlainLayers
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.operations import build_operation
from rdarts.search_spaces import SearchSpace
from rdarts.utils.evaluating import evaluating
from rdarts.utils.logging import tell
from rdarts.utils.random_state import preserve_random_state

UNIT = 'millions of multiply-adds'
EQUAL = 'equal'
"""For a cost of reference: that of equal weights."""


@dataclass(frozen=True)
class Site:
    """An edge of one cell of a network.

    Args:
        cell (str): The cell's type.
        edge (int): The edge's place in it.
        reads (tuple[int, int, int]): What its candidates read, C, H and W.
        out_channels, stride (int): Of its candidates.
    """

    cell: str
    edge: int
    reads: tuple[int, int, int]
    out_channels: int
    stride: int


def find_sites(supernet: BaseSupernet, shape: Sequence[int]) -> list[Site]:
    """The edges of all cells of a network, by a forward of zeros that changes nothing.

    Args:
        supernet (BaseSupernet): The network.
        shape (Sequence[int]): C, H and W of an image.

    Raises:
        UserError: The network runs some edge neither in a ``SearchCell`` nor by calling its mixed
            operation.
    """
    found: list[Site] = []
    cells, kinds = supernet.space.cells, iter(supernet.cell_types)

    def add(cell: str, mixed: MixedOp, size: Sequence[int]) -> None:
        labels = [f'{edge.source}_{edge.target}' for edge in cells[cell].edges]
        reads = (mixed.in_channels, *size)
        for label in mixed.labels:
            found.append(Site(cell, labels.index(label), reads, mixed.out_channels, mixed.stride))

    def note(module: SearchCell | MixedOp, args: tuple) -> None:
        if isinstance(module, MixedOp):
            add(next(iter(cells)), module, args[0].shape[2:])
            return
        cell, size = next(kinds), args[0][0].shape[2:]
        inner = [-(-side // module.stride) for side in size]
        for node, mixed in module.mixed.items():
            add(cell, mixed, size if int(node) < module.topology.num_inputs else inner)

    parameter = next(iter(supernet.parameters()))
    images = torch.zeros(2, *shape, device=parameter.device, dtype=parameter.dtype)
    noted = [one for one in supernet.modules() if isinstance(one, (SearchCell, MixedOp))]
    handles = [one.register_forward_pre_hook(note) for one in noted]
    try:
        with torch.no_grad(), preserve_random_state(), evaluating(supernet):
            supernet(images)
    finally:
        for handle in handles:
            handle.remove()
    edges = {(cell, edge) for cell, table in cells.items() for edge in range(len(table.edges))}
    if {(site.cell, site.edge) for site in found} != edges:
        raise UserError(
            f'{type(supernet).__name__} runs its edges in a way of its own, so that what they cost '
            f"is not known: give the space '{supernet.space.name}' a cost table (costs=...)"
        )
    return found


def build_candidate(space: SearchSpace, name: str, site: Site) -> nn.Module:
    """A candidate of an edge, built anew as a derived network has it, in evaluation mode."""
    arguments = space.operation_args.get(name, {})
    channels = (site.reads[0], site.out_channels)
    return build_operation(name, PlainLayers(), *channels, site.stride, **arguments).eval()


def sum_costs(
    space: SearchSpace, sites: Sequence[Site], cost: Callable[[nn.Module, Site], float]
) -> dict[str, list[dict[str, float]]]:
    """Of each edge of each cell type, what each candidate costs in all cells of that type.

    Args:
        space (SearchSpace): The space.
        sites (Sequence[Site]): The edges of all cells.
        cost (Callable): Of a candidate that is built anew, and one edge that has it. Edges that are
            alike are asked for once.

    Returns:
        dict[str, list[dict[str, float]]]: Cell type -> for each edge, operation -> cost.
    """
    known: dict[tuple, float] = {}
    found = {
        cell: [dict.fromkeys(edge.candidates, 0.0) for edge in topology.edges]
        for cell, topology in space.cells.items()
    }
    for site in sites:
        entry = found[site.cell][site.edge]
        for name in entry:
            key = (name, site.reads, site.out_channels, site.stride)
            if key not in known:
                with preserve_random_state():
                    known[key] = cost(build_candidate(space, name, site), site)
            entry[name] += known[key]
    return found


def count_macs(module: nn.Module, site: Site) -> float:
    """Millions of multiply-adds of a module for one image: convolutions and linear layers."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *site.reads))
    return counter.get_total_flops() / 2e6


class Costs:
    """The costs of what is searched: those of the space's table, or else multiply-adds, counted.

    Args:
        owner (AlphaOwner, optional): Of the alpha that is searched: a supernet, of which they can
            be counted once an image has passed it in training. Defaults to none.
    """

    def __init__(self, owner: AlphaOwner | None = None) -> None:
        self._owner = owner
        self._of: SearchSpace | None = None
        self._known: dict[str, Tensor] = {}

    def of(self, space: SearchSpace, like: Tensor) -> dict[str, Tensor]:
        """Those of a space, which are kept until it is another one, as where candidates are pruned.

        Args:
            space (SearchSpace): Of what is alive.
            like (Tensor): Of the type and on the device that is wanted.

        Returns:
            dict[str, Tensor]: Group of the space -> [edges, candidates].

        Raises:
            UserError: The space has no table, and nothing can be counted.
        """
        kept = next(iter(self._known.values()), None)
        alike = kept is not None and (kept.device, kept.dtype) == (like.device, like.dtype)
        if self._of is not space or not alike:
            rows = self._counted(space) if space.costs is None else space.costs
            self._of, self._known = (
                space,
                {
                    group.name: like.new_tensor([rows[group.cell][edge] for edge in group.edges])
                    for group in space.groups
                },
            )
        return self._known

    def _counted(self, space: SearchSpace) -> Mapping[str, tuple[tuple[float, ...], ...]]:
        owner = self._owner
        if not isinstance(owner, BaseSupernet) or owner.image_shape is None:
            raise UserError(
                f"the space '{space.name}' has no costs: give it a table, which "
                'tools/benchmarks/cost_table.py writes, in a config: '
                "space=dict(_delete_=True, type='mobilenet_like', costs='costs.json')"
            )
        counted = sum_costs(owner.space, find_sites(owner, owner.image_shape), count_macs)
        rows = {
            cell: tuple(tuple(entry.values()) for entry in edges) for cell, edges in counted.items()
        }
        shape = ' x '.join(map(str, owner.image_shape))
        tell(f"costs of the space '{space.name}': {UNIT} of a {shape} image; it has no table")
        return replace(owner.space, costs=rows).restrict(owner.alive).costs
