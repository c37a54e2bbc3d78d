"""What every transition is: what one phase of a search hands to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import Size, Tensor, nn
from torch.utils.data import DataLoader

from rdarts.models.alpha import AlphaOwner, find_alpha_owner


@dataclass(frozen=True)
class Ended:
    """A phase that has ended, or, before the first one runs, one that was only built.

    Args:
        cfg (Config): Its config.
        model (Module): Its network, with its last weights, alpha and masks, on the device of the
            phase that begins; in a mode of evaluation, and nothing of it needs a gradient.
        state (dict): Its last checkpoint (``state_dict``, ``optimizer``, ``arch``, ``meta``, ...);
            empty of a phase that was only built.
    """

    cfg: Config
    model: nn.Module
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def owner(self) -> AlphaOwner:
        """The owner of its alpha."""
        return find_alpha_owner(self.model)


@dataclass(frozen=True)
class Beginning:
    """A phase that begins: its network as it starts, before any step.

    Args:
        cfg (Config): Its config.
        model (Module): Its network, without a wrapper, on its device: new weights and alpha, and
            the masks of the phase before, as the transitions before this one left them.
        seed (int): Of whatever is drawn at random: equal on all ranks, for all branches, and where
            the phase is begun once more. It is drawn by a generator of one's own.
        branch (int): Which one of the phase's branches, from 0. Defaults to 0.
        branches (int): How many there are. Defaults to 1.
        optim_wrapper (OptimWrapper, optional): Of its weights; None of a phase that is only built.
        train_dataloader, arch_dataloader (DataLoader, optional): Its loaders; None of a phase that
            is only built, or that has none of alpha's. Batches that are read of one are of an
            iterator of one's own; the phase's order does not depend on it.
        decided (dict): Plain data that a transition puts here for the phase's other branches, and
            for a phase that is begun once more: what is dear, or what rounding could turn. It comes
            back as JSON has it, from a file that may have been edited.
    """

    cfg: Config
    model: nn.Module
    seed: int = 0
    branch: int = 0
    branches: int = 1
    optim_wrapper: OptimWrapper | None = None
    train_dataloader: DataLoader | None = None
    arch_dataloader: DataLoader | None = None
    decided: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> AlphaOwner:
        """The owner of its alpha."""
        return find_alpha_owner(self.model)


class Transition:
    """One thing that a phase takes over from the phase before it.

    A subclass is registered in ``TRANSITIONS``, takes its options in ``__init__`` and overrides
    :meth:`__call__`. Every rank calls it, and it must do the same on all of them, and the same
    again where the phase is begun once more after a kill: it is a function of the ended phase, of
    its options and of ``new.seed``. Before the first phase runs, all transitions are called once
    with phases that were only built, so that what does not fit is refused before anything was
    trained: there is no trained alpha then, no checkpoint and no loader.

    Attributes:
        needs (tuple[str, ...]): What must go on from the phase before: see ``continue_from_last``.
            Defaults to nothing.
    """

    needs: tuple[str, ...] = ()

    def __call__(self, new: Beginning, last: Ended) -> None:
        """Change the phase that begins: its masks, alpha or weights.

        Args:
            new (Beginning): The phase that begins.
            last (Ended): The phase before it.

        Raises:
            UserError: The two do not fit each other.
        """
        raise TypeError(f'{type(self).__name__} does not override __call__')

    def grown(self, key: str, value: Tensor, shape: Size) -> Tensor | None:
        """A tensor of the ended phase as the one that begins has it.

        A transition that hands weights over overrides it: it is asked for each entry of the
        weights and, where the optimizer's state goes on, for each tensor of that (such as a
        momentum) of a parameter.

        Args:
            key (str): That of the state dict of the whole model, the same in both.
            value (Tensor): That of the ended phase.
            shape (Size): That of the phase that begins.

        Returns:
            Tensor | None: Of that shape; None where nothing is handed over. By default nothing is.
        """
        return None
