"""Object storage as snapshots need it: read, ask for a size, create if absent, and compare-and-swap.

    s3://BUCKET/PATH   gs://BUCKET/PATH   az://ACCOUNT/CONTAINER/PATH   file:///PATH   https://HOST/PATH (to read)

obstore (`pricegrid[objects]`) speaks to all of them, and is imported here alone, when a URL is opened. Credentials are
those of the environment, as the storage's own tools take them; a URL holds none. Files know no compare-and-swap: there
a lock beside them stands in.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from pricegrid.loaders.errors import StorageError
from pricegrid.loaders.store.snapshot import STORE_MODE

if TYPE_CHECKING:
    import obstore

_READ_ONLY: Final = frozenset({"http", "https"})
_CONNECT_S: Final = 5
_REQUEST_S: Final = 60
"""Of one object."""
_RETRIES: Final = 2
_RETRY_S: Final = 10
_TEXT_MAX: Final = 300
"""Of what a storage says is wrong: some say it in pages."""


class Answer(enum.Enum):
    """What there is in place of an object."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Mark:
    """Which state of an object was read; opaque."""

    e_tag: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Got:
    """An object as it was read."""

    content: bytes
    mark: Mark


class ObjectStorage:
    """The objects below a URL. Safe to use from several threads. Every method raises StorageError."""

    def __init__(self, url: str, inner: Any, root: Path | None = None) -> None:
        """`inner` is a store of obstore; `root` the folder if it is one of files, which may not be there yet."""
        import obstore
        from obstore import exceptions

        self.url = url
        self._inner = inner
        self._root = root
        self._api = obstore
        self._errors = exceptions

    def _opened(self) -> Any:
        """The store of obstore; one of files is opened when its folder is there. Raises what obstore raises."""
        if self._inner is None:
            from obstore.store import LocalStore

            self._inner = LocalStore(self._root)
        return self._inner

    def get(self, key: str, size_max: int, *, unless: Mark | None = None) -> Got | Answer:
        """An object of at most so many bytes, unless it is still the one of that mark."""
        options: obstore.GetOptions = {"if_none_match": unless.e_tag} if unless and unless.e_tag else {}
        try:
            with self._told():
                result = self._api.get(self._opened(), key, options=options)
                if result.meta["size"] > size_max:
                    raise StorageError(f"{self.url}/{key} has more than {size_max} bytes")
                return Got(bytes(result.bytes()), Mark(result.meta["e_tag"], result.meta["version"]))
        except self._errors.NotModifiedError:
            return Answer.UNCHANGED
        except (self._errors.NotFoundError, FileNotFoundError):
            return Answer.ABSENT

    def size(self, key: str) -> int | None:
        """The size of an object, None if there is none."""
        try:
            with self._told():
                return self._api.head(self._opened(), key)["size"]
        except (self._errors.NotFoundError, FileNotFoundError):
            return None

    def create(self, key: str, content: bytes) -> bool:
        """Writes an object unless there is one already; returns whether it did."""
        try:
            with self._told():
                self._api.put(self._opened(), key, content, mode="create")
        except self._errors.AlreadyExistsError:
            return False
        return True

    def replace(self, key: str, content: bytes) -> None:
        """Writes an object, whatever is there."""
        with self._told():
            self._api.put(self._opened(), key, content, mode="overwrite")

    def swap(self, key: str, content: bytes, seen: Mark | None) -> bool:
        """Writes an object if it is still what was seen (None: there was none); returns whether it did."""
        if seen is None:
            return self.create(key, content)
        if self._root is not None:
            return self._swap_file(key, content, seen, self._root)
        try:
            with self._told():
                self._api.put(self._opened(), key, content, mode=_update(seen))
        except (self._errors.PreconditionError, self._errors.NotFoundError):
            return False
        return True

    def _swap_file(self, key: str, content: bytes, seen: Mark, root: Path) -> bool:
        with self._told(), (root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                now = self._api.head(self._opened(), key)["e_tag"]
            except self._errors.NotFoundError:
                return False
            if now == seen.e_tag:
                self._api.put(self._opened(), key, content, mode="overwrite")
            return now == seen.e_tag

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Raises StorageError for what is no answer."""
        answers = (
            self._errors.NotFoundError,
            self._errors.NotModifiedError,
            self._errors.AlreadyExistsError,
            self._errors.PreconditionError,
            FileNotFoundError,
        )
        try:
            yield
        except answers:
            raise
        except (self._errors.BaseError, OSError) as error:
            raise StorageError(f"{self.url} can't be used: {_short(error)}") from error


def _update(seen: Mark) -> obstore.UpdateVersion:
    """The storage asks for what it knows: most for an ETag, Google's for a generation."""
    known: obstore.UpdateVersion = {}
    if seen.e_tag is not None:
        known["e_tag"] = seen.e_tag
    if seen.version is not None:
        known["version"] = seen.version
    return known


def _short(error: Exception) -> str:
    """What it says, without the structure behind it."""
    return re.sub(r"\s+", " ", str(error).partition("\n\nDebug source")[0])[:_TEXT_MAX]


def open_storage(url: str, *, to_write: bool = False) -> ObjectStorage:
    """The objects below a URL that `storage_url` has passed; connects to nothing yet. Raises StorageError."""
    try:
        from obstore import store as stores
        from obstore.exceptions import BaseError
    except ImportError:
        raise StorageError("object storage takes obstore: pip install 'pricegrid[objects]'") from None
    scheme = urlsplit(url).scheme
    try:
        if scheme == "file":
            root = Path(unquote(urlsplit(url).path))
            if to_write:
                root.mkdir(mode=STORE_MODE, parents=True, exist_ok=True)
            return ObjectStorage(url, None, root)
        inner = stores.from_url(
            url,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=_CONNECT_S),
                "timeout": timedelta(seconds=_REQUEST_S),
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_S)},
        )
    except (BaseError, ValueError, OSError) as error:
        raise StorageError(f"{url} can't be used: {_short(error)}") from error
    if to_write and scheme in _READ_ONLY:
        raise StorageError(f"{url} can only be read: push to the storage behind it")
    return ObjectStorage(url, inner)
