"""Writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from nbnumba.errors import OutputFileError

try:
    import fcntl
except ImportError:  # Windows, which keeps open files from being removed instead
    fcntl = None  # type: ignore[assignment]

# A small file whole, a large one in blocks that need not exist at the same time, or what writes it into a file that is open.
Content = bytes | Iterable[bytes] | Callable[[IO[bytes]], object]
UNFINISHED = ".nbnumba-"  # how names of files begin that are not in their place yet
STDOUT = 1
MOST_LINKS = 40  # that Linux follows
BLOCK = 1 << 20
MOST_OPEN = 100  # files without a name, each of which is open; the system allows some 1000
DAY = 86400.0  # s


def check_writable(paths: Sequence[Path], inputs: Sequence[Path] = (), new_folder: bool = False) -> None:
    """Refuse targets that cannot be written, and two of one name or one that is an input, before any work is done.

    Makes room for them: what a process that was killed has left in their folders is removed. new_folder: a folder that is not there will be
    made. Raises OutputFileError.
    """
    for path in paths:
        if problem := why_not_writable(path, new_folder):
            raise OutputFileError(f"{path}: cannot be written: {problem}")
    resolved = [path.resolve() for path in paths]
    for path, target in zip(paths, resolved, strict=True):
        if resolved.count(target) > 1 and is_file_like(target):
            raise OutputFileError(f"{path}: two outputs have this name; give each its own")
        if target in [source.resolve() for source in inputs]:
            raise OutputFileError(f"{path}: is an input of this run; give the output another name")
    for folder in {target.parent for target in resolved}:
        remove_left_over(folder)


def why_not_writable(path: Path, new_folder: bool = False) -> str:
    """What is in the way of writing a file; empty if nothing is."""
    try:
        if path == Path():
            return "needs a file name"
        target = target_of(path)
        if target.is_symlink():
            return "is a link that leads to itself"
        if target.is_dir():
            return "is a folder"
        if target.exists() and not os.access(target, os.W_OK):
            return "no permission to write to it"
        folder = target.parent
        while new_folder and not folder.exists() and not folder.is_symlink():
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is no folder" if folder.exists() else f"the folder {folder} does not exist"
        return "" if not is_file_like(path) or os.access(folder, os.W_OK) else f"no permission to write in {folder}"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def target_of(path: Path) -> Path:
    """The file that links lead to; without any, the path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_file_like(path: Path) -> bool:
    """Whether a path is, or will be, a regular file: not a pipe, a device, or what a process has open."""
    return (path.is_file() or not path.exists()) and not leads_to_descriptor(path)


def leads_to_descriptor(path: Path) -> bool:
    """Whether a path stands for a file that a process has open, as /dev/stdout and /proc/self/fd/3 do."""
    for _ in range(MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if folder.name == "fd" and folder.parts[1:2] in (("proc",), ("dev",)):
            return True
        if not path.is_symlink():
            return False
        path = folder / path.readlink()
    return False


def is_standard_output(path: Path) -> bool:
    """Whether what is written to a path goes where this process prints to."""
    try:
        return not is_file_like(path) and os.path.samestat(path.stat(), os.fstat(STDOUT))
    except OSError:
        return False


def write_all(contents: Mapping[Path, Content]) -> None:
    """Write every file, then put one after the other in place, each by one renaming; a failure leaves everything as it was.

    Whenever the process is killed, every target is its old self or its new one, whole; those that are written together need not all be of
    one kind then. Nothing else is left where the system knows files without a name (Linux, on most file systems), but for the instant of
    renaming; what is left otherwise, check_writable() removes. Links are followed, permissions kept; pipes, devices and files that are
    open (/dev/stdout) are written to, before any file is in place. Nothing is flushed to the disk: where power fails, what was written
    last may be lost, and the same command makes it again. Raises OutputFileError.
    """
    files = [path for path in contents if is_file_like(path)]
    with ExitStack() as stack:
        new: dict[Path, Unfinished] = {}
        rooms: dict[Path, Path] = {}
        for path in files:
            with named(path):
                target = target_of(path)
                if (nameless := nameless_file(target.parent) if len(files) <= MOST_OPEN else None) is not None:
                    new[path] = stack.enter_context(Nameless(target, nameless))
                else:
                    if target.parent not in rooms:
                        rooms[target.parent] = stack.enter_context(room(target.parent))
                    new[path] = Hidden(target, rooms[target.parent] / f"{len(new)}")
                new[path].write(contents[path])
        for path in contents.keys() - set(files):
            with named(path), opened(path) as file:
                fill(file, contents[path])
        try:
            for path in files:
                with named(path):
                    new[path].place()
        except BaseException:
            for path in files:
                with suppress(OSError):
                    new[path].take_back()
            raise


@contextmanager
def named(path: Path) -> Iterator[None]:
    """A failure to write in one line, with the file that it is about."""
    try:
        yield
    except OSError as error:
        raise OutputFileError(f"{path}: cannot be written: {error.strerror or str(error)[:200]}") from None


def fill(file: IO[bytes], content: Content) -> None:
    """Write all of a file."""
    if callable(content):
        content(file)
    else:
        for block in [content] if isinstance(content, bytes) else content:
            file.write(block)
    file.flush()


def opened(path: Path) -> IO[bytes]:
    """What is no file of its own, open for writing; standard output as it is, so that nothing in it is written over."""
    return os.fdopen(os.dup(STDOUT), "wb") if is_standard_output(path) else path.open("wb")


class Unfinished:
    """A file that is not in its place yet, and what was there before."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.existed, self.placed = target.is_file(), False

    def write(self, content: Content) -> None:
        """Fill it."""
        raise NotImplementedError

    def place(self) -> None:
        """Give it its name."""
        raise NotImplementedError

    def take_back(self) -> None:
        """Leave what there was before it was in its place."""
        if self.placed and self.existed:
            self.restore()
        elif self.placed:
            self.target.unlink(missing_ok=True)

    def restore(self) -> None:
        """Put what was there in place again."""
        raise NotImplementedError

    def keep_permissions(self, file: IO[bytes]) -> None:
        """Those of what it takes the place of."""
        if self.existed and hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), stat.S_IMODE(self.target.stat().st_mode))


class Nameless(Unfinished):
    """A file that goes with its process until it has a name; file: open for writing."""

    def __init__(self, target: Path, file: IO[bytes]) -> None:
        super().__init__(target)
        self.file = file
        self.before: IO[bytes] | None = None
        self.hidden = hidden_name(target.parent)  # for the instant in which it replaces another

    def __enter__(self) -> Nameless:
        return self

    def write(self, content: Content) -> None:
        """Fill it."""
        self.keep_permissions(self.file)
        fill(self.file, content)

    def place(self) -> None:
        """Give it its name."""
        with suppress(OSError):
            self.before = self.target.open("rb") if self.existed else None
        self.placed = True
        if not self._named(self.target):
            lock(self.file.fileno())
            self._named(self.hidden)
            self.hidden.replace(self.target)
        self.file.close()

    def _named(self, name: Path) -> bool:
        """Link it to a name, unless there is a file of that name."""
        folder = os.open(name.parent, os.O_RDONLY)  # with which Python follows the link of /proc to the file itself
        try:
            os.link(f"/proc/self/fd/{self.file.fileno()}", name.name, dst_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            return False
        finally:
            os.close(folder)
        return True

    def restore(self) -> None:
        """Write it again."""
        if self.before is not None:
            write_all({self.target: iter(partial(self.before.read, BLOCK), b"")})

    def __exit__(self, *exception: object) -> None:
        remove(self.hidden)
        for file in (self.file, self.before):
            if file is not None:
                with suppress(OSError):
                    file.close()


class Hidden(Unfinished):
    """A file in a hidden folder; hidden: where."""

    def __init__(self, target: Path, hidden: Path) -> None:
        super().__init__(target)
        self.hidden = hidden
        self.before = hidden.with_name(f"{hidden.name}.before")

    def write(self, content: Content) -> None:
        """Fill it."""
        with self.hidden.open("x+b") as file:
            self.keep_permissions(file)
            fill(file, content)

    def place(self) -> None:
        """Move it."""
        with suppress(OSError):  # not every file system has links
            os.link(self.target, self.before)
        self.placed = True
        self.hidden.replace(self.target)

    def restore(self) -> None:
        """Move it back."""
        self.before.replace(self.target)


@contextmanager
def room(folder: Path) -> Iterator[Path]:
    """A hidden folder in a folder, locked while its process lives."""
    path = hidden_name(folder)
    try:
        path.mkdir()
        with locked(path):
            yield path
    finally:
        try:
            remove(path)
        except BaseException:  # a signal, which came meanwhile
            remove(path)
            raise


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that can be."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            for inside in path.iterdir():
                remove(inside)
            path.rmdir()
        else:
            path.unlink()


def hidden_name(folder: Path) -> Path:
    """A name that no other file has."""
    return folder / f"{UNFINISHED}{secrets.token_hex(8)}"


def nameless_file(folder: Path) -> IO[bytes] | None:
    """A new file in a folder that goes with its process; None where the system has none that can be given a name."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except OSError:
        return None


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Claim a file or folder; whether nobody else has it. Where there are no such locks, what is older than a day is taken for nobody's."""
    if fcntl is None:
        yield time.time() - path.stat().st_mtime > DAY
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield lock(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Claim what is open for as long as it is; whether nobody else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_left_over(folder: Path) -> None:
    """Remove unfinished files of processes that are no more."""
    with suppress(OSError):
        for path in [Path(entry) for entry in os.scandir(folder) if entry.name.startswith(UNFINISHED)]:
            with suppress(OSError), locked(path) as nobodys:
                if nobodys:
                    remove(path)
