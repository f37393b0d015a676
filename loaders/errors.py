"""The errors of the loaders, split by who can act.

    LoadError
    ├── DatasetError            the dataset can't be read as a whole: whoever exports it
    ├── LoaderBusyError         another load holds the store: wait
    ├── StorageError            object storage gives no usable answer: whoever runs it
    │   └── PublishedMeanwhileError  another producer was quicker: look, and push again
    └── SnapshotError
        ├── NoSnapshotError       the store has none, or not the one asked for: load first
        ├── SnapshotCorruptError  a file is missing, short or changed: restore or load again
        ├── SnapshotVersionError  written by another release: load again
        ├── SnapshotReplayedError an older one than was seen: whoever could write to the object storage
        └── SnapshotUnsignedError not signed by a key that is trusted: whoever could write to the store

A row that can't be used is not an error: it goes to `rejects/TABLE.csv`.
"""


class LoadError(Exception):
    """Anything that stops a load or the opening of a snapshot; its text is fit to show to an operator."""


class DatasetError(LoadError):
    """The dataset as a whole can't be used: missing directory, unknown table, missing required column."""


class LoaderBusyError(LoadError):
    """Another load holds the lock of the store."""


class StorageError(LoadError):
    """Object storage is away, refuses, or lacks or holds something that it should not; the text names the URL."""


class PublishedMeanwhileError(StorageError):
    """Another producer published while this one pushed; its snapshot is the one that is named."""


class SnapshotError(LoadError):
    """A snapshot can't be used."""


class NoSnapshotError(SnapshotError):
    """The store holds no snapshot, or not the one that was asked for."""


class SnapshotCorruptError(SnapshotError):
    """A file of the snapshot is missing, truncated or changed; the text names it."""


class SnapshotVersionError(SnapshotError):
    """The snapshot has a format that this release doesn't read."""


class SnapshotUnsignedError(SnapshotError):
    """The manifest has no signature of a trusted key, or not for what it says."""


class SnapshotReplayedError(SnapshotError):
    """Object storage names an older publication than was seen there, or that of another storage."""
