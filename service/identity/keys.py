"""The public keys of token issuers: read from a key set (JWKS), bound to one algorithm each, and kept up to date.

    jwks_file, jwks_url ──supervisor: `KeyKeeper`──▶ STORE/identity/keys.json (the last good ones)
                                     └──pipe: Keys──▶ workers

A worker never fetches: a call can't wait for an identity provider, and nobody can make a worker ask one. A set that
can't be fetched or used is logged, and the last good one stays; after a restart it is the one in the store.
"""

import contextlib
import hashlib
import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import jwt

from pricegrid.service.identity.config import AuthConfig, Issuer
from pricegrid.service.identity.files import write_private
from pricegrid.service.identity.limits import (
    JWKS_BYTES_MAX,
    JWKS_TIMEOUT_S,
    KEY_POLL_S,
    KEYS_MAX,
    NUDGE_S,
)
from pricegrid.service.identity.messages import Keys

_log = logging.getLogger(__name__)
_KEPT: Final = "keys.json"
_FOLDER: Final = "identity"
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BITS_MIN: Final = 2048
_REPEAT_LOG_S: Final = 60.0


class KeySetError(Exception):
    """A key set can't be used; the text says why, and holds no key."""


def key_set(text: str, issuer: Issuer) -> dict[str, jwt.PyJWK]:
    """The keys of an issuer by id, those that verify signatures of its algorithms; raises KeySetError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise KeySetError(f"the keys of {issuer.issuer} are not JSON") from None
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise KeySetError(f"the keys of {issuer.issuer} are no JWKS: no list `keys`")
    if len(rows) > KEYS_MAX:
        raise KeySetError(f"{issuer.issuer} has {len(rows)} keys; at most {KEYS_MAX}")
    found: dict[str, jwt.PyJWK] = {}
    for row in rows:
        if row.get("use", "sig") != "sig":
            continue
        if _PRIVATE & row.keys():
            raise KeySetError(
                f"the keys of {issuer.issuer} hold a private or shared key: publish public ones"
            )
        key = _key(row, issuer)
        name = row.get("kid")
        if key is not None and isinstance(name, str) and name:
            if name in found:
                raise KeySetError(f"{issuer.issuer} has two keys with the id {name!r}")
            found[name] = key
    if not found:
        raise KeySetError(f"{issuer.issuer} has no key with an id for {', '.join(issuer.algorithms)}")
    return found


def _key(row: dict[str, Any], issuer: Issuer) -> jwt.PyJWK | None:
    """A key of a set; None for one that this release or this issuer's algorithms don't use."""
    try:
        key = jwt.PyJWK(row)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key.key_type == "RSA" and getattr(key.key, "key_size", 0) < _RSA_BITS_MIN:
        return None
    return key if key.algorithm_name in issuer.algorithms else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from the URL that the operator named, and from nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def fetch(url: str) -> str:
    """The body of a key set at a URL; raises OSError and ValueError."""
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler())
    with opener.open(url, timeout=JWKS_TIMEOUT_S) as response:  # of an address that `read_auth` has checked
        body = cast("bytes", response.read(JWKS_BYTES_MAX + 1))
    if len(body) > JWKS_BYTES_MAX:
        raise ValueError(f"more than {JWKS_BYTES_MAX} bytes")
    return body.decode()


class _Source:
    """Where the keys of one issuer come from, and what was last read there."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.text = ""
        """The last good set; '' while there is none."""
        self.due_s = 0.0
        self._seen: tuple[int, ...] = ()
        self._logged = ("", 0.0)

    def read(self, now_s: float, fetch_from: Callable[[str], str]) -> bool:
        """Reads the keys again if that is due; returns whether there are other good ones now."""
        if now_s < self.due_s:
            return False
        self.due_s = now_s + (self.issuer.refresh_s if self.issuer.jwks_url else KEY_POLL_S)
        try:
            text = self._read(fetch_from)
            if text in {None, self.text}:
                return False
            key_set(str(text), self.issuer)
        except (OSError, ValueError, KeySetError) as error:
            self._log(str(error), now_s)
            return False
        self._logged = ("", 0.0)
        self.text = str(text)
        return True

    def _read(self, fetch_from: Callable[[str], str]) -> str | None:
        """The text there; None: the file has not changed."""
        path = self.issuer.jwks_file
        if path is None:
            return fetch_from(self.issuer.jwks_url)
        status = path.stat()
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return None
        text = path.read_text(encoding="utf-8")
        self._seen = seen
        return text

    def _log(self, message: str, now_s: float) -> None:
        if message != self._logged[0] or now_s - self._logged[1] >= _REPEAT_LOG_S:
            self._logged = (message, now_s)
            kept = "the last good ones stay" if self.text else "its tokens are refused"
            _log.error("the keys of %s can't be read, %s: %s", self.issuer.issuer, kept, message)


class KeyKeeper:
    """Keeps the keys of all issuers up to date, in a thread of the supervisor; `report` is called when they change."""

    def __init__(
        self,
        config: AuthConfig,
        store: Path,
        report: Callable[[Keys], None],
        *,
        clock_s: Callable[[], float] = time.monotonic,
        fetch_from: Callable[[str], str] = fetch,
    ) -> None:
        self._sources = [_Source(issuer) for issuer in config.issuers]
        self._kept = store / _FOLDER / _KEPT
        self._report = report
        self._clock_s = clock_s
        self._fetch = fetch_from
        self._nudged_s = -NUDGE_S
        self._is_nudged = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-keeper", daemon=True)
        self._recall()

    @property
    def keys(self) -> Keys:
        """The last good sets."""
        return Keys({each.issuer.issuer: each.text for each in self._sources if each.text})

    def start(self) -> None:
        """Reads the keys once, and from now on again and again."""
        self.turn()
        self._thread.start()

    def stop(self) -> None:
        """Stops; a fetch that is under way ends with the process."""
        self._stopping.set()

    def nudge(self) -> None:
        """A token named an unknown key: fetch soon, unless that was done a moment ago."""
        self._is_nudged = True

    def turn(self) -> None:
        """Reads what is due, keeps it and reports a change."""
        now_s = self._clock_s()
        if self._is_nudged and now_s - self._nudged_s >= NUDGE_S:
            self._nudged_s = now_s
            for source in self._sources:
                source.due_s = now_s
        self._is_nudged = False
        changed = [source.read(now_s, self._fetch) for source in self._sources]
        if any(changed):
            self._keep()
            self._report(self.keys)

    def _run(self) -> None:
        while not self._stopping.wait(KEY_POLL_S):
            try:
                self.turn()
            except Exception:  # noqa: BLE001 -- the last good keys stay, and the next turn may succeed
                _log.exception("keys can't be read")

    def _recall(self) -> None:
        """Begin with the keys of the last run, of those issuers that are still the same."""
        try:
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        for source in self._sources:
            text = kept.get(_place(source.issuer)) if isinstance(kept, dict) else None
            with contextlib.suppress(KeySetError):
                if isinstance(text, str) and key_set(text, source.issuer):
                    source.text = text

    def _keep(self) -> None:
        texts = {_place(each.issuer): each.text for each in self._sources if each.text}
        try:
            self._kept.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(self._kept, json.dumps(texts))
        except OSError as error:
            _log.warning("keys can't be kept for the next start: %s", error.strerror)


def _place(issuer: Issuer) -> str:
    """Where an issuer's keys are kept: those of another place are not taken for them."""
    return hashlib.sha256(f"{issuer.issuer}\0{issuer.jwks_file}\0{issuer.jwks_url}".encode()).hexdigest()


def keys_of(keys: Keys, issuers: Sequence[Issuer]) -> dict[str, list[tuple[Issuer, jwt.PyJWK]]]:
    """The keys of all issuers by key id; ids may be the same in several sets."""
    found: dict[str, list[tuple[Issuer, jwt.PyJWK]]] = {}
    for issuer in issuers:
        text = keys.sets.get(issuer.issuer)
        if text:
            for name, key in key_set(text, issuer).items():
                found.setdefault(name, []).append((issuer, key))
    return found
