"""Decoded images of files, kept in memory that all processes of a machine share."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import stat
import struct
import tempfile
import threading
import time
import weakref
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from rdarts.datasets.shards import file_of
from rdarts.errors import UserError
from rdarts.utils.memory import gigabytes, main_memory

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

FOLDER = 'RDARTS_IMAGE_CACHE'  # the variable that names another folder
SHARED_MEMORY = '/dev/shm'
NAME = 'rdarts-images'
UNITS = {'KB': 2**10, 'MB': 2**20, 'GB': 2**30, 'TB': 2**40}
FREE_MEMORY = 0.1  # of the machine's, below which nothing more is stored
FREE_SHARED = 0.25  # of shared memory, in which workers pass batches on as well
FREE_DISK = 0.05  # of another file system
LOOKS_EVERY = 32  # stored images, after which both are looked at
_HEADER = struct.Struct('<3q')  # bytes used, images stored, whether it was told that no more are
_RECORD = struct.Struct('<5qq')  # offset, height, width, channels (0: grey), stamp; their checksum
_FIRST = 64  # where the records begin


def parse_size(text: Any) -> int:
    """Bytes of a size such as ``8GB`` (of 2^30 bytes).

    Raises:
        UserError: It is none.
    """
    found = re.fullmatch(r'(\d+(?:\.\d+)?) ?([KMGT]B)', str(text), re.I)
    if found is None or not float(found[1]):
        raise UserError(f"image_cache is a size such as '8GB', but got {text!r}")
    return round(float(found[1]) * UNITS[found[2].upper()])


class ImageCache:
    """Pixels of a list of images, up to a number of bytes, for all processes of a machine.

    They are in a file in shared memory (``/dev/shm``; where there is none, in the folder of
    temporary files; or in that which ``$RDARTS_IMAGE_CACHE`` names, on a disk of the machine). Its
    name follows from the list and from how images are decoded: ranks, workers, loaders and runs of
    one user that read the same images have them together. It goes with the last process that uses
    it; what a kill has left there, the next cache in that folder removes. An image is stored when
    it is first decoded; none is given up, since of images in random order each is as likely as
    another to come next. What was being written when a process was killed counts as not there. An
    image whose file has changed since is decoded anew.

    Where it is full, or the memory or the folder nearly so, no more is stored, which one line says.

    Args:
        limit (int): Bytes of pixels at most.
        paths (Sequence[str]): The images, in the order of their numbers.
        decoder (str): What says how they are decoded.
    """

    def __init__(self, limit: int, paths: Sequence[str], decoder: str) -> None:
        digest = hashlib.sha256(f'1\n{limit}\n{decoder}\n'.encode())
        digest.update('\n'.join(paths).encode('utf-8', 'surrogateescape'))
        user = os.getuid() if hasattr(os, 'getuid') else 0
        self._name = f'{NAME}-{user}-{digest.hexdigest()[:24]}'
        self.limit, self.count = limit, len(paths)
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return dict(_name=self._name, limit=self.limit, count=self.count)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._file: int | None = None
        self._stores = False
        self._stored = self._refused = 0
        self._lock = threading.Lock()
        self._pixels = -(-(_FIRST + self.count * _RECORD.size) // 4096) * 4096
        self._path = _folder() / self._name
        try:
            if fcntl is None or not hasattr(os, 'preadv'):
                raise OSError(errno.ENOSYS, 'this system cannot share it')
            remove_unused(self._path.parent)
            self._file = _open_shared(self._path, self._pixels + self.limit)
        except OSError as error:
            why = error.strerror or error
            _say(f'image_cache: nothing is kept in {self._path.parent}: {why}')
            return
        self._stores = True
        weakref.finalize(self, _close, self._file, self._path, os.getpid())

    @property
    def stored(self) -> int:
        """How many images were stored, by all processes."""
        return self._header()[1]

    def get(self, index: int, path: str) -> np.ndarray | None:
        """An image.

        Args:
            index (int): Its number.
            path (str): Where its file is.

        Returns:
            np.ndarray | None: uint8, one's own; None where it is not there.
        """
        if self._file is None:
            return None
        try:
            record = os.pread(self._file, _RECORD.size, self._place(index))
            if len(record) < _RECORD.size:
                return None
            offset, height, width, channels, stamp, check = _RECORD.unpack(record)
            if check != _checksum(record[:-8]) or stamp != _stamp(path):
                return None
            image = np.empty((height, width, channels) if channels else (height, width), np.uint8)
            if os.preadv(self._file, [image.reshape(-1)], offset) != image.size:
                return None
        except OSError:
            return None
        return image

    def put(self, index: int, path: str, image: np.ndarray) -> None:
        """Store an image, where there is room.

        Args:
            index (int): Its number.
            path (str): Where its file is.
            image (np.ndarray): uint8 [H, W, C] or [H, W]; others are not stored.
        """
        if not self._stores or image.dtype != np.uint8 or image.ndim not in (2, 3):
            return
        try:
            stamp = _stamp(path)
            offset = self._reserve(image.size)
            if offset is None:
                return
            _write(self._file, np.ascontiguousarray(image).reshape(-1), offset)
            height, width, channels = (*image.shape, 0)[:3]
            record = _RECORD.pack(offset, height, width, channels, stamp, 0)[:-8]
            record += struct.pack('<q', _checksum(record))
            os.pwrite(self._file, record, self._place(index))
        except OSError as error:
            self._stop(f'{self._path.parent}: {error.strerror}')

    def _place(self, index: int) -> int:
        return _FIRST + index * _RECORD.size

    def _header(self) -> tuple[int, int, int]:
        data = os.pread(self._file, _HEADER.size, 0) if self._file is not None else b''
        return _HEADER.unpack(data.ljust(_HEADER.size, b'\0'))

    def _reserve(self, size: int) -> int | None:
        """Where in the file an image is to be written; None where it is not."""
        if self._stored % LOOKS_EVERY == 0 and (lack := self._lack()):
            self._stop(lack)
            return None
        with self._lock:
            if not self._enter():
                return None
            try:
                used, stored, told = self._header()
                if used + size <= self.limit:
                    os.pwrite(self._file, _HEADER.pack(used + size, stored + 1, told), 0)
                    self._stored += 1
                    return self._pixels + used
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _HEADER.size)
        self._stop(f'{gigabytes(self.limit)} are full')
        return None

    def _enter(self) -> bool:
        """Keep other processes from the header; a lock of this kind ends with its process."""
        for _ in range(50):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _HEADER.size)
            except (BlockingIOError, PermissionError):
                time.sleep(0.001)
            else:
                self._refused = 0
                return True
        self._refused += 1
        if self._refused > 3:  # as where both kinds of locks are one, on a file system of a network
            self._stores = False
            _say(f'image_cache: no lock in {self._path.parent}: nothing more is stored')
        return False

    def _lack(self) -> str:
        """What there is too little of; empty where there is enough."""
        memory = main_memory()
        if memory is not None and memory.free < FREE_MEMORY * memory.total:
            return f'only {gigabytes(memory.free)} of memory are free ({memory.name})'
        found = os.statvfs(self._path.parent)
        share = FREE_SHARED if str(self._path.parent) == SHARED_MEMORY else FREE_DISK
        if found.f_bavail < share * found.f_blocks:
            free = gigabytes(found.f_bavail * found.f_frsize)
            return f'only {free} are free in {self._path.parent}'
        return ''

    def _stop(self, why: str) -> None:
        """Store no more in this process; the first of all that stops says so."""
        self._stores = False
        with self._lock, suppress(OSError):
            if not self._enter():
                return
            used, stored, told = self._header()
            os.pwrite(self._file, _HEADER.pack(used, stored, 1), 0)
            fcntl.lockf(self._file, fcntl.LOCK_UN, _HEADER.size)
            if not told:
                _say(
                    f'image_cache: {why}: {stored:,} of {self.count:,} images are kept '
                    f'({gigabytes(used)}), the others are decoded each time'
                )


def remove_unused(folder: Path) -> None:
    """Remove the caches of this user in a folder that no process uses any more."""
    for path in folder.glob(f'{NAME}-{os.getuid()}-*'):
        with suppress(OSError):
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_there(file, path):  # else another has removed it, and a third made it anew
                    path.unlink()
            finally:
                os.close(file)


def _folder() -> Path:
    given = os.environ.get(FOLDER)
    if given:
        return Path(given)
    usable = os.path.isdir(SHARED_MEMORY) and os.access(SHARED_MEMORY, os.W_OK)
    return Path(SHARED_MEMORY if usable else tempfile.gettempdir())


def _open_shared(path: Path, size: int) -> int:
    """Open the file, which is made where it is missing, and keep others from removing it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(file)
            if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode):
                raise PermissionError(errno.EPERM, f'{path.name} is of another user')
            fcntl.flock(file, fcntl.LOCK_SH)
            if _is_there(file, path):  # else another has just removed it
                if found.st_size != size:
                    os.ftruncate(file, size)  # without taking room
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_there(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _close(file: int, path: Path, process: int) -> None:
    with suppress(OSError):
        if os.getpid() == process:  # a forked worker has the lock together with its parent
            fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)
        if os.getpid() == process:
            remove_unused(path.parent)


def _stamp(path: str) -> int:
    """Tells a file, and a state of it, from others."""
    found = os.stat(file_of(path))
    text = f'{path}\n{found.st_mtime_ns}\n{found.st_size}'.encode('utf-8', 'surrogateescape')
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'little', signed=True)


def _checksum(record: bytes) -> int:
    return zlib.crc32(record) + 1  # not 0, as a record that was never written has


def _write(file: int, data: np.ndarray, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


def _say(line: str) -> None:
    print_log(line, logger='current', level=logging.WARNING)
