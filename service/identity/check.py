"""What is looked at before a server starts with a configuration of identity: mistakes show then, not at a call."""

import logging
from pathlib import Path

from pricegrid.service.clock import host_ns
from pricegrid.service.identity.certificates import read_pems
from pricegrid.service.identity.config import AuthConfig, AuthConfigError
from pricegrid.service.identity.files import exposed
from pricegrid.service.identity.keys import KeySetError, key_set

_log = logging.getLogger(__name__)


def check_auth(config: AuthConfig, store: Path) -> None:
    """Raises AuthConfigError for files that can't be used, and for a store that every user of the machine can change.

    The keys behind a URL are not fetched: an identity provider that is away must not keep a server from starting.
    """
    if config.tls is not None:
        read_pems(config.tls)
    for at, issuer in enumerate(config.issuers):
        if issuer.jwks_file is None:
            continue
        try:
            key_set(issuer.jwks_file.read_text(encoding="utf-8"), issuer)
        except OSError as error:
            raise AuthConfigError(
                f"issuer[{at}].jwks_file: {issuer.jwks_file} can't be read: {error.strerror}"
            ) from None
        except (UnicodeDecodeError, KeySetError) as error:
            raise AuthConfigError(f"issuer[{at}].jwks_file: {error}") from None
    if config.limits:
        from pricegrid.service.quota.accounts import Accounts, accounts_path

        try:
            Accounts(accounts_path(store), host_ns)
        except OSError as error:
            raise AuthConfigError(
                f"limit: what callers use is counted in {store / 'live'}, which can't be written: {error.strerror}"
            ) from None
    for folder in (store, store / "live", store / "snapshots"):
        can_change, can_read = exposed(folder)
        if can_change:
            raise AuthConfigError(
                f"every user of this machine can change {folder}, and with it prices and stock: chmod o-w {folder}"
            )
        if can_read and folder == store:
            _log.warning("every user of this machine can read the prices in %s: chmod o= %s", folder, folder)
