"""Trained networks on the Hugging Face Hub, and in folders of its form.

Importing this module needs huggingface_hub and safetensors. What is read is data: a network is
built of the registered parts that ``config.json`` names, and nothing of it is imported or called.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import Tensor, nn

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.configuration.as_data import as_text, entry, read_config, type_name
from rdarts.configuration.folder import configs_folder
from rdarts.deploy.description import MAX_BYTES, Description
from rdarts.deploy.export import to_safetensors
from rdarts.deploy.inference import Predictor, first_line, scores_of_net
from rdarts.deploy.trained import Trained, find_run, load_trained
from rdarts.errors import RunFailed, UserError
from rdarts.hooks.image_check import ImageCheckHook
from rdarts.models.classifier import Classifier
from rdarts.models.multiply_adds import count_macs
from rdarts.results.accuracies import logged_accuracies
from rdarts.results.row import number
from rdarts.utils.files import read_text, write_atomically

try:
    from huggingface_hub import ModelCard, PyTorchModelHubMixin, constants, hf_hub_download
    from safetensors import SafetensorError
    from safetensors.torch import load
except ImportError:
    packages = 'huggingface_hub safetensors'
    raise UserError(f'networks on the Hub need {packages}: pip install {packages}') from None

CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
"""The files of a folder."""
MEASURED = 'measured'
"""The key of the config that holds what was measured."""
TRAINING = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'randomness')
"""What the card shows of the training's config; nothing of it is a path."""
NUMBERS = ('accuracy', 'epoch', 'parameters', 'macs', 'training_images', 'batch_size')
TEXTS = ('config', 'data', 'settings')
NOT_REACHED = 'it cannot be reached: is there a network?'
MAX_TEXT = 100_000  # characters of one of them


class HubNet(nn.Module, PyTorchModelHubMixin, library_name='rdarts', tags=['image-classification']):
    """A trained network with what it is and what was measured of it.

    Args:
        net (Classifier): In evaluation mode.
        description (Description): What it is.
        measured (dict): Of ``NUMBERS`` and ``TEXTS``, those that are known.
    """

    def __init__(
        self, net: Classifier, description: Description, measured: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.net, self.description = net, description
        self.measured = dict(measured)
        self.train(net.training)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [N, classes] of images [N, 3, H, W], prepared as the description says."""
        return self.net(x)

    @property
    def predictor(self) -> Predictor:
        """The network as :func:`rdarts.deploy.inference.classify` takes it."""
        return Predictor(scores_of_net(self.net), self.description)

    @classmethod
    def from_run(
        cls, source: str | os.PathLike, checkpoint: str | os.PathLike | None = None
    ) -> HubNet:
        """The network of a retraining.

        Args:
            source (str | PathLike): Its work directory, whose ``config.py`` is run, or a config.
            checkpoint (str | PathLike, optional): See :func:`rdarts.deploy.trained.find_run`.

        Raises:
            UserError: It is none, or a file of it cannot be read.
        """
        trained = load_trained(*find_run(source, checkpoint))
        return cls(trained.net, trained.description, measure(trained))

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, **kwargs: Any) -> HubNet:
        """The network of a folder, or of a name on the Hub.

        Args:
            name (str | PathLike): What :meth:`save_pretrained` wrote, or ``'owner/name'``.
            **kwargs: Of huggingface_hub: ``revision``, ``token``, ``cache_dir``,
                ``force_download``, ``local_files_only``.

        Raises:
            UserError: There is none, it cannot be had, or it is damaged.
        """
        name = os.fspath(name)
        if os.path.isdir(name):
            return cls._from_folder(Path(name))
        reached = is_reachable()
        if not reached:  # what was had once is in the cache
            kwargs['local_files_only'] = True
        try:
            return super().from_pretrained(name, **kwargs)
        except UserError as error:
            raise UserError(f'{name}: {error}') from None
        except Exception as error:  # of the connection, of the Hub, of a file
            why = first_line(error) if reached else NOT_REACHED
            raise UserError(f"'{name}' is no folder, and the Hub does not give it: {why}") from None

    @classmethod
    def _from_folder(cls, folder: Path) -> HubNet:
        paths = [folder / CONFIG, folder / WEIGHTS]
        for path in paths:
            if not path.is_file():
                raise UserError(f'{folder} holds no {path.name}: save_pretrained did not write it')
        try:
            return cls._read(*paths)
        except UserError as error:
            raise UserError(f'{folder}: {error}') from None

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **kwargs: Any) -> HubNet:
        """The mixin's; what it has read of the config already is of no use here."""
        known = ('revision', 'cache_dir', 'force_download', 'local_files_only', 'token')
        kwargs = {key: value for key, value in kwargs.items() if key in known}
        return cls._read(
            *(Path(hf_hub_download(model_id, name, **kwargs)) for name in (CONFIG, WEIGHTS))
        )

    @classmethod
    def _read(cls, config: Path, weights: Path) -> HubNet:
        text = read_text(config, MAX_BYTES, CONFIG)
        try:
            description = Description.from_json(text)
        except UserError as error:
            raise UserError(f'{CONFIG}: {error}') from None
        try:
            tensors = load(weights.read_bytes())
        except OSError as error:
            raise UserError(f'{WEIGHTS} cannot be read: {error.strerror}') from None
        except (SafetensorError, ValueError, KeyError):
            raise UserError(f'{WEIGHTS}: damaged, or no safetensors file') from None
        return cls(description.build(tensors), description, _checked(json.loads(text)))

    def save_pretrained(self, folder: str | os.PathLike, **kwargs: Any) -> str | None:
        """Write config, weights and model card, over those that are there.

        Args:
            folder (str | PathLike): Made where it is missing.
            **kwargs: Of huggingface_hub (``push_to_hub``, ``repo_id``, ...).

        Raises:
            RunFailed: It cannot be written.
        """
        try:
            return super().save_pretrained(folder, **kwargs)
        except OSError as error:
            raise RunFailed(f'{folder} cannot be written: {error.strerror or error}') from None

    def _save_pretrained(self, folder: Path) -> None:
        config = json.loads(self.description.to_json())
        config[MEASURED] = self.measured
        text = json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True)
        write_atomically(folder / WEIGHTS, to_safetensors(self.net, self.description))
        write_atomically(folder / CONFIG, text.encode())
        write_atomically(folder / CARD, str(self.generate_model_card(folder.name)).encode())

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Write the same to the Hub; see huggingface_hub for the arguments.

        Raises:
            UserError: The name is none, there is no connection, or the Hub refuses.
        """
        if not is_reachable():
            raise UserError(f'{repo_id} cannot be pushed: {NOT_REACHED}')
        try:
            return super().push_to_hub(repo_id, **kwargs)
        except (UserError, RunFailed):
            raise
        except Exception as error:  # of the connection, or of the Hub
            raise UserError(f'{repo_id} cannot be pushed: {first_line(error)}') from None

    def generate_model_card(self, name: str = 'this network', **kwargs: Any) -> ModelCard:
        """What the network is, and what was measured of it; what was not is not there.

        Args:
            name (str): Of the network.
            **kwargs: Without effect.
        """
        from rdarts.apis.model_card import model_card

        return ModelCard(model_card(name, self.description, self.measured))


def is_reachable() -> bool:
    """Whether the Hub's address is known: without a network, huggingface_hub tries for long."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


def measure(trained: Trained) -> dict[str, Any]:
    """What is known of a trained network: counted, and read in the files of its run.

    The accuracy is that of the epoch of the checkpoint.

    Args:
        trained (Trained): The network.

    Raises:
        UserError: A file of the run cannot be read.
    """
    folder = trained.checkpoint.parent
    config = read_config(folder) if (folder / 'config.json').is_file() else {}
    epoch = number(read_checkpoint(trained.checkpoint), 'meta', 'epoch')
    settings = {key: config[key] for key in TRAINING if key in config}
    image = torch.zeros(3, *trained.description.input.size)
    found = dict(
        parameters=sum(parameter.numel() for parameter in trained.net.parameters()),
        macs=count_macs(trained.net, image),
        epoch=epoch,
        accuracy=dict(logged_accuracies(folder)).get(epoch),
        config=_shipped(entry(config, 'experiment_name')),
        batch_size=number(config, 'train_dataloader', 'batch_size'),
        settings=as_text(settings) if settings else None,
    )
    dataset = entry(config, 'train_dataloader', 'dataset')
    while entry(dataset, 'dataset') is not None:
        dataset = entry(dataset, 'dataset')
    if dataset is not None:
        found['data'] = type_name(dataset)
    try:
        images = json.loads(read_text(folder / ImageCheckHook.file, MAX_BYTES))
        found['training_images'] = number(images, 'images', 'count') or number(images, 'count')
    except (FileNotFoundError, ValueError):
        pass
    return _checked({MEASURED: found})


def _shipped(name: Any) -> str | None:
    """The name of a config of ours; None of another."""
    known = [path.stem for path in (configs_folder() / 'retrain').glob('*.py')]
    return name if name in known else None


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, of a config: numbers and texts, whatever else it holds."""
    data = entry(config, MEASURED)
    found = {key: number(data, key) for key in NUMBERS}
    found = {key: int(x) if x == math.floor(x) else x for key, x in found.items() if x is not None}
    texts = {key: entry(data, key) for key in TEXTS}
    return found | {
        key: text for key, text in texts.items() if isinstance(text, str) and len(text) <= MAX_TEXT
    }
