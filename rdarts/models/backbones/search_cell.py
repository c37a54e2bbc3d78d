"""A cell of a supernet: nodes joined by mixed operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from rdarts.models.alpha import AlphaOwner
from rdarts.models.backbones.base_supernet import BaseSupernet
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.models.mixed_ops.mixing import Mixing
from rdarts.search_spaces import CellTopology


class SearchCell(nn.Module):
    """All edges of a cell; those that leave one node are one mixed operation.

    Args:
        supernet (BaseSupernet): Builds the mixed operations (and is not kept).
        topology (CellTopology): Nodes and edges.
        channels (int): Channels of every node.
        stride (int): Of the edges that leave an input node. Defaults to 1.
        affine (bool): Of the batch norms. Defaults to False.
        track_running_stats (bool): Of the batch norms. Defaults to True.
    """

    def __init__(
        self,
        supernet: BaseSupernet,
        topology: CellTopology,
        channels: int,
        stride: int = 1,
        affine: bool = False,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.topology, self.stride = topology, stride
        self.mixed = nn.ModuleDict()
        for node in range(topology.num_nodes):
            edges = [topology.edges[i] for i in topology.edges_from(node)]
            if not edges:
                continue
            self.mixed[str(node)] = supernet.build_mixed_op(
                [edge.candidates for edge in edges],
                channels,
                stride=stride if node < topology.num_inputs else 1,
                affine=affine,
                track_running_stats=track_running_stats,
                labels=[f'{edge.source}_{edge.target}' for edge in edges],
            )
        self._targets = {
            node: [topology.edges[i].target for i in topology.edges_from(int(node))]
            for node in self.mixed
        }

    def forward(self, inputs: Sequence[Tensor], mixing: Mapping[int, Mixing]) -> list[Tensor]:
        """Run the cell.

        Args:
            inputs (Sequence[Tensor]): The input nodes, each [N, C, H, W].
            mixing (dict[int, Mixing]): Of the edges that leave each node.

        Returns:
            list[Tensor]: The last node, or all nodes that are no inputs (whose concatenation is
            the cell's output), each [N, C, H / stride, W / stride].
        """
        topology = self.topology
        nodes: list[Tensor | None] = [*inputs]
        nodes += [None] * (topology.num_nodes - len(inputs))
        for key, mixed in self.mixed.items():
            node, targets = int(key), self._targets[key]
            outputs = mixed.forward_edges(nodes[node], mixing[node], [nodes[t] for t in targets])
            for target, output in zip(targets, outputs, strict=True):
                nodes[target] = output
        if topology.output == 'last':
            return nodes[-1:]
        return nodes[topology.num_inputs :]


def mixed_operations(owner: AlphaOwner) -> Iterator[tuple[str, MixedOp]]:
    """The mixed operations of a network, each with the type of the cell that it is in.

    Args:
        owner (AlphaOwner): The network. Where it has no cells (a chain of layers), all are of the
            first type.
    """
    cells = [module for module in owner.modules() if isinstance(module, SearchCell)]
    for kind, cell in zip(owner.cell_types, cells, strict=False):
        yield from ((kind, mixed) for mixed in cell.mixed.values())
    if not cells:
        first = next(iter(owner.space.cells))
        yield from ((first, module) for module in owner.modules() if isinstance(module, MixedOp))
