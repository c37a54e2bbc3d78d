"""Decoded images of files, kept in memory that all processes of a machine share."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import struct
import tempfile
import threading
import time
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from rdarts.datasets.shards import file_of
from rdarts.datasets.shared_file import (
    WORD,
    allocate,
    close_shared,
    open_again,
    open_shared,
    remove_unused,
    set_lock,
    write_all,
)
from rdarts.errors import UserError
from rdarts.utils.memory import gigabytes, main_memory
from rdarts.utils.ranks import is_main_rank

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

FOLDER = 'RDARTS_IMAGE_CACHE'  # the variable that names another folder
SHARED_MEMORY = '/dev/shm'
NAME = 'rdarts-images'
UNITS = {'KB': 2**10, 'MB': 2**20, 'GB': 2**30, 'TB': 2**40}
LARGEST = 2**60  # bytes, which fit in a file's offsets
FREE_MEMORY = 0.1  # of the machine's, below which nothing more is stored
FREE_SHARED = 0.25  # of shared memory, in which workers pass batches on as well
FREE_DISK = 0.05  # of another file system
LOOK_EVERY = 2**24  # bytes that a process stores, after which it looks at the machine's memory
LOCK_WAIT = 0.05  # seconds; an image is not stored where the lock takes longer
_TOLD = 511  # words after the first, which says how many bytes are used: runs that were told
_FIRST = WORD.size * (1 + _TOLD)  # where the records begin
_RECORD = struct.Struct('<6q')  # offset, height, width, channels (0: grey), stamp; their checksum
_RUN = int.from_bytes(os.urandom(7), 'little') | 1  # of processes with one parent: see __getstate__


def parse_size(text: Any) -> int:
    """Bytes of a size such as ``8GB`` (of 2^30 bytes).

    Raises:
        UserError: It is none, less than a byte, or more than 2^60.
    """
    found = re.fullmatch(r'(\d+(?:\.\d+)?) ?([KMGT]B)', str(text), re.I)
    size = 0.0 if found is None else float(found[1]) * UNITS[found[2].upper()]
    if not 1 <= size <= LARGEST:
        raise UserError(f"image_cache is a size such as '8GB', but got {text!r}")
    return round(size)


_said: set[str] = set()


class ImageCache:
    """Pixels of a list of images, up to a number of bytes, for all processes of a machine.

    They are in a file in shared memory (``/dev/shm``; where there is none, in the folder of
    temporary files; or in that which ``$RDARTS_IMAGE_CACHE`` names, on a disk of the machine). Its
    name follows from the list, the size and how images are decoded: ranks, workers, loaders and
    runs of one user that read the same images have them together. It goes with the last process
    that uses it; what a kill has left there, the next cache in that folder removes. An image is
    stored when it is first decoded; none is given up, since of images in random order each is as
    likely as another to come next. What was being written when a process was killed counts as not
    there. An image whose file has changed since is decoded anew.

    Where it is full, or the memory or the folder nearly so, no more is stored, which the first rank
    of each run says in one line.

    Args:
        limit (int): Bytes of pixels at most.
        paths (Sequence[str]): The images, in the order of their numbers.
        decoder (str): What says how they are decoded.
    """

    def __init__(self, limit: int, paths: Sequence[str], decoder: str) -> None:
        digest = hashlib.sha256(f'2\n{limit}\n{decoder}\n'.encode())
        digest.update('\n'.join(paths).encode('utf-8', 'surrogateescape'))
        self._name = _names(digest.hexdigest()[:24])
        self.limit, self.count = limit, len(paths)
        self._run = _RUN if is_main_rank() else None  # whose processes say a line, once
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return dict(_name=self._name, limit=self.limit, count=self.count, _run=self._run)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._file: int | None = None
        self._stores = False
        self._looked = LOOK_EVERY  # bytes stored since
        self._refused = 0
        self._lock = threading.Lock()
        self._pixels = -(-(_FIRST + self.count * _RECORD.size) // 4096) * 4096
        self._path = _folder() / self._name
        try:
            if fcntl is None or not hasattr(os, 'preadv'):
                raise OSError(errno.ENOSYS, 'this system cannot share it')
            remove_unused(self._path.parent, _names('*'))
            self._file = open_shared(self._path, self._pixels + self.limit)
        except OSError as error:
            line = f'nothing is kept in {self._path.parent}: {error.strerror or error}'
            if self._run is not None and line not in _said:  # loaders of a run open it one by one
                _said.add(line)
                _say(f'image_cache: {line}')
            return
        self._stores = True
        self._process, self._locked = os.getpid(), self._file
        self._files = [self._file]
        weakref.finalize(self, close_shared, self._files, self._path, self._process, _names('*'))

    @property
    def stored(self) -> int:
        """How many images are stored, by all processes."""
        if self._file is None:
            return 0
        data = os.pread(self._file, self.count * _RECORD.size, _FIRST)
        words = np.frombuffer(data, '<i8', len(data) // _RECORD.size * 6)
        return int(np.count_nonzero(words[5::6]))

    def get(self, index: int, stamp: int | None) -> np.ndarray | None:
        """An image.

        Args:
            index (int): Its number.
            stamp (int, optional): :func:`stamp_of` its file as it is now.

        Returns:
            np.ndarray | None: uint8, one's own; None where it is not there.
        """
        if self._file is None:
            return None
        try:
            record = os.pread(self._file, _RECORD.size, self._place(index))
            if len(record) < _RECORD.size:
                return None
            offset, height, width, channels, known, check = _RECORD.unpack(record)
            if check != _checksum(record[:-8]) or known != stamp:
                return None
            image = np.empty((height, width, channels) if channels else (height, width), np.uint8)
            if os.preadv(self._file, [image.reshape(-1)], offset) != image.size:
                return None
        except OSError:
            return None
        return image

    def put(self, index: int, stamp: int | None, image: np.ndarray) -> None:
        """Store an image, where there is room.

        Args:
            index (int): Its number.
            stamp (int, optional): :func:`stamp_of` its file before it was decoded. Without one, it
                is not stored.
            image (np.ndarray): uint8 [H, W, C] or [H, W]; others are not stored.
        """
        if not self._stores or stamp is None or image.dtype != np.uint8:
            return
        if image.ndim not in (2, 3) or not image.size:
            return
        try:
            offset = self._reserve(image.size)
            if offset is None:
                return
            write_all(self._file, np.ascontiguousarray(image).reshape(-1), offset)
            height, width, channels = (*image.shape, 0)[:3]
            record = _RECORD.pack(offset, height, width, channels, stamp, 0)[:-8]
            record += WORD.pack(_checksum(record))
            os.pwrite(self._file, record, self._place(index))
        except OSError as error:
            self._stop(f'{self._path.parent}: {error.strerror}')

    def _place(self, index: int) -> int:
        return _FIRST + index * _RECORD.size

    def _word(self, place: int) -> int:
        return WORD.unpack(os.pread(self._file, WORD.size, place).ljust(WORD.size, b'\0'))[0]

    def _reserve(self, size: int) -> int | None:
        """Where in the file an image is to be written; None where it is not."""
        lack = self._lack_of_memory(size)
        if not lack:
            with self._alone() as alone:
                if not alone:
                    return None
                used = self._word(0)
                lack = self._lack_of_room(used, size)
                if not lack:
                    # while no other asks how much is free
                    allocate(self._file, self._pixels + used, size, self._pixels + self.limit)
                    os.pwrite(self._file, WORD.pack(used + size), 0)
                    self._looked += size
                    return self._pixels + used
        self._stop(lack)
        return None

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keep other processes and threads from the first words, where that does not take long."""
        if self._process != os.getpid():  # a forked worker: what its parent opened has one lock
            self._lock = threading.Lock()
            self._locked = open_again(self._file, self._path)
            self._process = os.getpid()
            self._files.append(self._locked)
        with self._lock:
            alone = self._enter()
            try:
                yield alone
            finally:
                if alone:
                    set_lock(self._locked, fcntl.LOCK_UN)

    def _enter(self) -> bool:
        """Whether the lock was had; it ends with its process."""
        end = time.monotonic() + LOCK_WAIT
        while True:
            try:
                set_lock(self._locked, fcntl.LOCK_EX)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > end:
                    break
                time.sleep(0.001)
            else:
                self._refused = 0
                return True
        self._refused += 1
        if self._refused > 3:  # as where both kinds of locks are one, on a file system of a network
            raise OSError(errno.ENOLCK, 'no lock is to be had')
        return False

    def _lack_of_memory(self, size: int) -> str:
        """Whether there is too little of it, which takes a while to find out; empty if not."""
        if self._looked < LOOK_EVERY:
            return ''
        self._looked = 0
        memory = main_memory()
        if memory is not None and memory.free - size < FREE_MEMORY * memory.total:
            return f'only {gigabytes(memory.free)} of memory are free ({memory.name})'
        return ''

    def _lack_of_room(self, used: int, size: int) -> str:
        """Whether there is too little for an image; empty if not."""
        if used + size > self.limit:
            return f'{gigabytes(self.limit)} are full'
        found = os.statvfs(self._path.parent)
        share = FREE_SHARED if _is_shared_memory(self._path.parent) else FREE_DISK
        free = found.f_bavail * found.f_frsize
        # a file system without blocks has no limit of its own
        if found.f_blocks and free - size < share * found.f_blocks * found.f_frsize:
            return f'only {gigabytes(free)} are free in {self._path.parent}'
        return ''

    def _stop(self, why: str) -> None:
        """Store no more in this process; the first process of a run's first rank says so."""
        self._stores = False
        if self._run is None:
            return
        try:
            with self._alone():
                first = self._is_first()
        except OSError:  # there are no locks: two that stop at the same moment both say it
            first = self._is_first()
        if first:
            with suppress(OSError):
                _say(
                    f'image_cache: {why}: {self.stored:,} of {self.count:,} images are kept '
                    f'({gigabytes(self._word(0))}), the others are decoded each time'
                )

    def _is_first(self) -> bool:
        """Whether no process of this run has said it, which is noted."""
        place = WORD.size * (1 + self._run % _TOLD)
        with suppress(OSError):
            if self._word(place) == self._run:
                return False
            os.pwrite(self._file, WORD.pack(self._run), place)
        return True


def _names(end: str) -> str:
    """The name of a file of this user's, or a pattern of it."""
    return f'{NAME}-{os.getuid() if hasattr(os, "getuid") else 0}-{end}'


def _folder() -> Path:
    given = os.environ.get(FOLDER)
    if given:
        return Path(given)
    usable = os.path.isdir(SHARED_MEMORY) and os.access(SHARED_MEMORY, os.W_OK)
    return Path(SHARED_MEMORY if usable else tempfile.gettempdir())


def _is_shared_memory(folder: Path) -> bool:
    """Whether a folder is in the file system of ``/dev/shm``."""
    try:
        return os.stat(folder).st_dev == os.stat(SHARED_MEMORY).st_dev
    except OSError:
        return False


def stamp_of(path: str) -> int | None:
    """Tells a file, and a state of it, from others; None where there is no such file.

    Args:
        path (str): Of an image, or its locator in a tar or Parquet file.
    """
    try:
        found = os.stat(file_of(path))
    except OSError:
        return None
    text = f'{path}\n{found.st_mtime_ns}\n{found.st_size}'.encode('utf-8', 'surrogateescape')
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'little', signed=True)


def _checksum(record: bytes) -> int:
    return zlib.crc32(record) + 1  # not 0, as a record that was never written has


def _say(line: str) -> None:
    print_log(line, logger='current', level=logging.WARNING)
