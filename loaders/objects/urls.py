"""URLs of object storage on a command line; imports nothing heavy, for commands are read before they run."""

import argparse
import re
from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = ("s3", "gs", "az", "file", "https", "http")
_VERSION: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)


def storage_url(text: str) -> str:
    """For argparse: the URL without a slash at its end. What it says of a wrong one shows nothing of a password."""
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise argparse.ArgumentTypeError(
            "a URL of object storage begins with s3://, gs://, az://, file://, https:// or http://"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(
            "a URL of object storage holds no user, password, ? or #: credentials are taken from the environment"
        )
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise argparse.ArgumentTypeError("a URL of files is file:///PATH")
    if parts.scheme != "file" and not parts.netloc:
        raise argparse.ArgumentTypeError("the URL of object storage names no bucket or host")
    return text.rstrip("/")


def snapshot_version(text: str) -> str:
    """For argparse: the version of a snapshot, which becomes part of a path."""
    if _VERSION.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no version of a snapshot, as `snapshots list` shows them"
        )
    return text
