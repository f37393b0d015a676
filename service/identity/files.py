"""Files that their owner alone may read, and folders that others may not change."""

import os
import stat
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replaces a file by one that its owner alone may read. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def exposed(folder: Path) -> tuple[bool, bool]:
    """(every user of the machine can change what is in a folder, can read it); False where it does not exist."""
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        return False, False
    is_reachable = bool(mode & stat.S_IXOTH)
    return bool(mode & stat.S_IWOTH) and is_reachable, bool(mode & stat.S_IROTH) and is_reachable
