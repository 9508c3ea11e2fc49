"""
Every touch of the disk that applying a patch makes, one system call each, by names within an open folder.

One module, so that a test can stop a run at each of them.
"""

import errno
import fcntl
import os
import stat

READ_CHUNK = 1 << 20


def real_path(path: str) -> str:
    """Where a path leads when every link is followed."""
    return os.path.realpath(path)


def open_folder(path: str) -> int:
    """A descriptor of a folder."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def lock(folder: int) -> bool:
    """Lock the folder against other runs; False when one of them holds the lock. It ends with the descriptor."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def names(folder: int) -> list[str]:
    """What is in the folder, sorted."""
    return sorted(os.listdir(folder))


def kind(folder: int, name: str) -> os.stat_result:
    """What a name stands for; a link is not followed."""
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def is_read_only(folder: int) -> bool:
    """Whether the file system is mounted read-only."""
    return bool(os.fstatvfs(folder).f_flag & os.ST_RDONLY)


def may_write(folder: int, name: str) -> bool:
    """Whether we may write the file, or with "." the folder."""
    needed = os.W_OK | (os.X_OK if name == "." else 0)
    return os.access(name, needed, dir_fd=folder, effective_ids=os.access in os.supports_effective_ids)


def open_file(folder: int, name: str) -> int:
    """A descriptor to read a plain file; never waits for a pipe, never follows a link."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file", name)
    return descriptor


def read(descriptor: int) -> bytes:
    """All that follows."""
    parts = []
    while part := os.read(descriptor, READ_CHUNK):
        parts.append(part)
    return b"".join(parts)


def state(descriptor: int) -> os.stat_result:
    """Mode, owner and identity of an open file."""
    return os.fstat(descriptor)


def create(folder: int, name: str) -> int:
    """A new file that nobody else can read, open to write."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)


def write(descriptor: int, content: bytes | memoryview) -> int:
    """Write as much as is taken at once; how much it was."""
    return os.write(descriptor, content)


def chown(descriptor: int, owner: int, group: int) -> None:
    """Set the owner."""
    os.fchown(descriptor, owner, group)


def chmod(descriptor: int, mode: int) -> None:
    """Set the mode."""
    os.fchmod(descriptor, mode)


def attribute_names(descriptor: int) -> list[str]:
    """The extended attributes, access control list included; none where the file system has no such thing."""
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return []
        raise


def attribute(descriptor: int, name: str) -> bytes:
    """One extended attribute."""
    return os.getxattr(descriptor, name)


def set_attribute(descriptor: int, name: str, value: bytes) -> None:
    """Set an extended attribute."""
    os.setxattr(descriptor, name, value)


def remove_attribute(descriptor: int, name: str) -> None:
    """Remove an extended attribute."""
    os.removexattr(descriptor, name)


def fsync(descriptor: int) -> None:
    """Have a file on the disk."""
    os.fsync(descriptor)


def fsync_folder(folder: int) -> None:
    """Have the folder's names on the disk, where the file system can."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def rename(folder: int, old: str, new: str) -> None:
    """Give a file another name; what had it is gone."""
    os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)


def unlink(folder: int, name: str) -> None:
    """Remove a file; one that is not there is no error."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def close(descriptor: int) -> None:
    """Close a descriptor; what it stood for was made sure of before, if it matters."""
    os.close(descriptor)
