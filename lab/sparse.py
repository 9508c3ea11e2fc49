"""
Copies of files that are mostly holes.
"""

import errno
import os
from pathlib import Path
from typing import Final

_CHUNK: Final = 4 << 20


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder with all that is in it into a new folder, holes as holes."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        copy = copy_folder if path.is_dir() else copy_file
        copy(path, target / path.name)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; what was never written takes no room in the copy either."""
    with source.open("rb") as reading, target.open("xb") as writing:
        size = os.fstat(reading.fileno()).st_size
        os.ftruncate(writing.fileno(), size)
        begin = _data_from(reading.fileno(), 0)
        while begin < size:
            end = os.lseek(reading.fileno(), begin, os.SEEK_HOLE)
            while begin < end:
                begin += os.pwrite(writing.fileno(), os.pread(reading.fileno(), min(_CHUNK, end - begin), begin), begin)
            begin = _data_from(reading.fileno(), end)


def _data_from(file: int, position: int) -> int:
    """Where the next data begins; behind every file where there is none."""
    try:
        return os.lseek(file, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return 1 << 62
        raise
