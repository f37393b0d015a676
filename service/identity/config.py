"""The configuration of identity, `auth.toml`, read strictly: whatever is wrong is refused by the name of its key.

Paths are relative to the file. It holds no secret: keys are in files of their own (docs/identity.md).
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pricegrid.erp.protocol import ErpConfigError
from pricegrid.erp.settings import Section
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.limits import (
    JWKS_REFRESH_S_DEFAULT,
    JWKS_REFRESH_S_MAX,
    LEEWAY_S_DEFAULT,
    LEEWAY_S_MAX,
)
from pricegrid.service.identity.scopes import Role
from pricegrid.service.limits import LINES_MAX
from pricegrid.service.quota.limits import RATE_MAX, RULES_MAX
from pricegrid.service.quota.rules import LimitRule, Rate

ALGORITHMS: Final = ("EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
"""Signatures with a private key alone: with a shared secret, whoever can check a token can make one."""
_ALGORITHMS_DEFAULT: Final = ("EdDSA", "ES256", "RS256")
CERTIFICATE_HEADER: Final = "x-forwarded-client-cert"
GATEWAY_HEADERS: Final = (CERTIFICATE_HEADER, "x-endpoint-api-userinfo")
"""What a gateway passes on: the certificate of its caller (Envoy), or the claims of a token that it has verified."""
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}


class AuthConfigError(Exception):
    """The file can't be used; the text names the key at fault."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of `[tls]`, read again when they change."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """With it, a caller without a certificate of this authority does not get a connection."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An `[[issuer]]` of tokens; the keys are in a file or behind a URL."""

    issuer: str
    audience: str
    jwks_file: Path | None = None
    jwks_url: str = ""
    algorithms: tuple[str, ...] = _ALGORITHMS_DEFAULT
    leeway_s: int = LEEWAY_S_DEFAULT
    refresh_s: int = JWKS_REFRESH_S_DEFAULT
    roles: frozenset[Role] = frozenset(Role)
    """What its tokens may say; a token with another role is refused."""


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """A `[[certificate]]`: who the owner of a client certificate with this subject alternative name is."""

    san: str
    role: Role
    customers: CustomerGrant


@dataclass(frozen=True, slots=True)
class Gateway:
    """The `[gateway]`: whose word is taken for who calls, because they asked before."""

    sans: frozenset[str]
    """Subject alternative names of client certificates."""
    header: str
    """One of GATEWAY_HEADERS."""
    roles: frozenset[Role]
    """What those may be who call through it."""


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """The whole file."""

    tls: TlsFiles | None = None
    issuers: tuple[Issuer, ...] = ()
    certificates: Mapping[str, CertificateRule] = field(default_factory=dict)
    """By subject alternative name."""
    limits: tuple[LimitRule, ...] = ()
    """What callers may use; without any, as much as they like."""
    open_health: bool = True
    """Whether anybody may ask the health service."""
    open_reflection: bool = False
    """Whether anybody may ask for the protos."""
    gateway: Gateway | None = None
    """None: whoever passes on a call passes on its token."""


class _Part(Section):
    """A table of the file."""

    def path(self, key: str, folder: Path) -> Path:
        """A path, relative to `folder`."""
        return folder / self.text(key)

    def texts_of(self, key: str, default: Iterable[str] = ()) -> tuple[str, ...]:
        """A list of texts that are not empty."""
        value = self._take(key)
        value = list(default) if value is None else value
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise ErpConfigError(f"{self.name(key)} must be a list of texts that are not empty")
        return tuple(value)

    def words_of(self, key: str, allowed: Iterable[str], default: Iterable[str]) -> tuple[str, ...]:
        """A list of one or more of the words that are allowed."""
        words, known = self.texts_of(key, default), list(allowed)
        if not words or not set(words) <= set(known):
            raise ErpConfigError(f"{self.name(key)} is {list(words)!r}; it may hold {', '.join(known)}")
        return words

    def parts(self, key: str) -> "list[_Part]":
        """The tables of an array of tables."""
        value = self._take(key)
        value = [] if value is None else value
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            raise ErpConfigError(f"{self.name(key)} must be an array of tables: [[{self.name(key)}]]")
        return [_Part(each, f"{self.name(key)}[{at}]") for at, each in enumerate(value)]

    def part(self, key: str) -> "_Part | None":
        """A table, None if absent."""
        members = self.table(key)
        return None if members is None else _Part(members, self.name(key))


def read_auth(path: Path) -> AuthConfig:
    """The configuration in a file; raises AuthConfigError."""
    try:
        members = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AuthConfigError(f"{path} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AuthConfigError(f"{path} is not TOML: {error}") from None
    try:
        return _config(members, path.absolute().parent)
    except ErpConfigError as error:
        raise AuthConfigError(f"{path}: {error}") from None


def _config(members: dict[str, Any], folder: Path) -> AuthConfig:
    whole = _Part(members, "")
    tls = whole.part("tls")
    issuers = tuple(_issuer(part, folder) for part in whole.parts("issuer"))
    rules = [_rule(part) for part in whole.parts("certificate")]
    opened = whole.part("open") or _Part({}, "open")
    gateway = whole.part("gateway")
    config = AuthConfig(
        None if tls is None else _tls(tls, folder),
        issuers,
        {rule.san: rule for rule in rules},
        tuple(_limit(part) for part in whole.parts("limit")),
        opened.flag("health", default=True),
        opened.flag("reflection", default=False),
        None if gateway is None else _gateway(gateway),
    )
    opened.done()
    whole.done()
    if len(config.certificates) != len(rules):
        raise ErpConfigError("certificate: a san is named twice")
    if len(config.limits) > RULES_MAX:
        raise ErpConfigError(f"limit: {len(config.limits)} of them; at most {RULES_MAX}")
    if len({(each.role, each.subject) for each in config.limits}) != len(config.limits):
        raise ErpConfigError("limit: a role, a subject, or everybody else is named twice")
    callers = (*(f"{each.issuer} " for each in issuers), *(f"certificate {rule.san}" for rule in rules))
    for limit in config.limits:
        if limit.subject and not limit.subject.startswith(callers):
            raise ErpConfigError(
                f"limit: the subject {limit.subject!r} is nobody: it is `ISS SUB` of a token, or `certificate SAN`"
            )
    if len({each.issuer for each in issuers}) != len(issuers):
        raise ErpConfigError("issuer: an issuer is named twice")
    if rules and (config.tls is None or config.tls.client_ca is None):
        raise ErpConfigError(
            "certificate: client certificates are verified by tls.client_ca, which is missing"
        )
    _check_gateway(config)
    if not issuers and not rules:
        raise ErpConfigError("it names no [[issuer]] and no [[certificate]]: nobody could call")
    return config


def _gateway(part: _Part) -> Gateway:
    sans = part.texts_of("sans")
    if not sans:
        raise ErpConfigError(f"{part.name('sans')} names no certificate whose owner may pass on who calls")
    found = Gateway(
        frozenset(sans),
        part.word("header", GATEWAY_HEADERS),
        frozenset(map(Role, part.words_of("roles", Role, [Role.STOREFRONT]))),
    )
    part.done()
    return found


def _check_gateway(config: AuthConfig) -> None:
    gateway = config.gateway
    if gateway is None:
        return
    if config.tls is None or config.tls.client_ca is None:
        raise ErpConfigError("gateway: its certificate is verified by tls.client_ca, which is missing")
    both = sorted(gateway.sans & config.certificates.keys())
    if both:
        raise ErpConfigError(
            f"gateway.sans and a [[certificate]] name {both[0]!r}: a call without a header would be the gateway's own"
        )
    is_certificate = gateway.header == CERTIFICATE_HEADER
    if not (config.certificates if is_certificate else config.issuers):
        missing = "[[certificate]]" if is_certificate else "[[issuer]]"
        raise ErpConfigError(
            f"gateway.header is {gateway.header}, and there is no {missing} to know callers by"
        )


def _tls(part: _Part, folder: Path) -> TlsFiles:
    found = TlsFiles(
        part.path("certificate", folder),
        part.path("key", folder),
        part.path("client_ca", folder) if "client_ca" in part else None,
    )
    part.done()
    return found


def _issuer(part: _Part, folder: Path) -> Issuer:
    if ("jwks_file" in part) == ("jwks_url" in part):
        raise ErpConfigError(f"{part.name('jwks_file')} or jwks_url: give one of them")
    url = part.text("jwks_url") if "jwks_url" in part else ""
    if url and not _is_safe(url):
        raise ErpConfigError(f"{part.name('jwks_url')} is {url!r}; it must be https, or http to this machine")
    found = Issuer(
        part.text("issuer"),
        part.text("audience"),
        part.path("jwks_file", folder) if not url else None,
        url,
        part.words_of("algorithms", ALGORITHMS, _ALGORITHMS_DEFAULT),
        part.integer("leeway_s", LEEWAY_S_DEFAULT, 0, LEEWAY_S_MAX),
        part.integer("refresh_s", JWKS_REFRESH_S_DEFAULT, 1, JWKS_REFRESH_S_MAX),
        frozenset(map(Role, part.words_of("roles", Role, Role))),
    )
    part.done()
    return found


def _limit(part: _Part) -> LimitRule:
    if "role" in part and "subject" in part:
        raise ErpConfigError(
            f"{part.name('role')} or subject: give one of them, or neither for everybody else"
        )
    found = LimitRule(
        part.word("role", Role) if "role" in part else "",
        part.text("subject") if "subject" in part else "",
        _rate(part, "calls", 1),
        _rate(part, "lines", LINES_MAX),  # or there were requests that could never be answered
    )
    if found.calls is None and found.lines is None:
        raise ErpConfigError(
            f"{part.name('calls_per_second')} or lines_per_second: give at least one of them"
        )
    part.done()
    return found


def _rate(part: _Part, what: str, burst_min: int) -> Rate | None:
    if f"{what}_per_second" not in part:
        return None
    per_s = part.integer(f"{what}_per_second", 0, 1, RATE_MAX)
    return Rate(per_s, part.integer(f"{what}_burst", max(per_s, burst_min), burst_min, RATE_MAX))


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.username is None and (
            (parts.scheme == "https" and bool(parts.hostname))
            or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        return False


def _rule(part: _Part) -> CertificateRule:
    san, role = part.text("san"), Role(part.word("role", Role))
    try:
        customers = CustomerGrant.of(part.texts_of("customers"))
    except ValueError as error:
        raise ErpConfigError(f"{part.name('customers')}: {error}") from None
    part.done()
    return CertificateRule(san, role, customers)
