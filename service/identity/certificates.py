"""TLS and mutual TLS with certificates that are read again when their files change, and who the owner of a client
certificate is.

Each handshake looks whether the files have changed, at most every half second. A pair that does not fit together (it is
being replaced at this moment, or by mistake) is logged and the last good one stays. Connections that are open go on.
"""

import logging
import os
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pricegrid.service.identity.config import AuthConfigError, CertificateRule, TlsFiles
from pricegrid.service.identity.limits import CERTIFICATE_POLL_S, SETTLE_S
from pricegrid.service.identity.scopes import SCOPES
from pricegrid.service.identity.tokens import Identity

_log = logging.getLogger(__name__)
_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH


class CertificateFiles:
    """The certificate, the key and the client authority of a server, as they are now."""

    def __init__(self, files: TlsFiles, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._seen = self._state()
        self._looked_s = clock_s()
        self._logged = ""
        self.pems = read_pems(files)
        """(key, certificate chain, client authority or None): the last good ones."""

    @property
    def takes_client_certificates(self) -> bool:
        """Whether a caller without a certificate gets no connection."""
        return self._files.client_ca is not None

    def changed(self) -> bool:
        """Whether there are other good ones since the last time."""
        with self._lock:
            now_s = self._clock_s()
            if now_s - self._looked_s < CERTIFICATE_POLL_S:
                return False
            self._looked_s = now_s
            try:
                seen = self._state()
                if seen == self._seen:
                    return False
                self.pems = read_pems(self._files)
            except (AuthConfigError, OSError) as error:
                if str(error) != self._logged:
                    self._logged = str(error)
                    _log.error("TLS files refused, the last good ones stay: %s", error)
                return False
            self._seen, self._logged = seen, ""
            _log.info("TLS files were read again")
            return True

    def _state(self) -> tuple[int, ...]:
        files = self._files
        paths = [files.certificate, files.key, *([files.client_ca] if files.client_ca else [])]
        try:
            found = [path.stat() for path in paths]
        except OSError as error:
            raise AuthConfigError(f"{error.filename} can't be read: {error.strerror}") from None
        return tuple(number for each in found for number in (each.st_ino, each.st_mtime_ns, each.st_size))


def read_pems(files: TlsFiles) -> tuple[bytes, bytes, bytes | None]:
    """(key, certificate chain, client authority or None); raises AuthConfigError, which names the member of [tls]."""
    chain = _read("tls.certificate", files.certificate)
    key = _read("tls.key", files.key)
    authority = None if files.client_ca is None else _read("tls.client_ca", files.client_ca)
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise AuthConfigError(f"tls.certificate: {files.certificate} holds no PEM certificate") from None
    try:
        public = load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError):  # the text of the error might quote the file
        raise AuthConfigError(f"tls.key: {files.key} holds no PEM key without a password") from None
    shape = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*shape) != first.public_key().public_bytes(*shape):
        raise AuthConfigError(f"tls.key: {files.key} is not the key of {files.certificate}")
    if authority is not None:
        try:
            x509.load_pem_x509_certificates(authority)
        except ValueError:
            raise AuthConfigError(f"tls.client_ca: {files.client_ca} holds no PEM certificate") from None
    return key, chain, authority


def _read(member: str, path: os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 -- the mode of the very file that is read
            if member == "tls.key" and os.fstat(file.fileno()).st_mode & _OTHERS:
                _log.warning("%s can be read by every user of this machine: chmod o= %s", path, path)
            return file.read()
    except OSError as error:
        raise AuthConfigError(f"{member}: {path} can't be read: {error.strerror}") from None


def server_credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """TLS credentials that follow the files."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        key, chain, authority = files.pems
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authority)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        if not files.changed():
            return None
        # gRPC frees the certificate that this one replaces, though a handshake that has just asked here may be about to
        # use it (grpc/grpc#36693): a crash. It asks under a lock, so while we wait nobody else gets that far, and those
        # who did are done, which takes them microseconds.
        time.sleep(SETTLE_S)
        return configuration()

    follow = cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch)  # None: it has not changed
    return grpc.dynamic_ssl_server_credentials(
        configuration(), follow, require_client_authentication=files.takes_client_certificates
    )


def server_contexts(files: CertificateFiles) -> Callable[[], ssl.SSLContext | None]:
    """A function that returns a TLS context at its first call, and another when the files have changed, else None."""
    is_new = [True]

    def newer() -> ssl.SSLContext | None:
        if not is_new[0] and not files.changed():
            return None
        is_new[0] = False
        return _context(*files.pems)

    return newer


def _context(key: bytes, chain: bytes, authority: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    if authority is not None:
        context.load_verify_locations(cadata=authority.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    # the standard library reads a key from a file alone: one in memory, which nobody else sees
    file = os.memfd_create("pricegrid-key", os.MFD_CLOEXEC)
    try:
        os.write(file, key + b"\n" + chain)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context


def identities(rules: Mapping[str, CertificateRule]) -> Mapping[bytes, Identity]:
    """Who the owners of client certificates are, by subject alternative name as gRPC gives it."""
    return {
        san.encode(): Identity(f"certificate {san}", rule.role, SCOPES[rule.role], rule.customers)
        for san, rule in rules.items()
    }


def owner(names: Iterable[bytes] | None, known: Mapping[bytes, Identity]) -> Identity | None:
    """Who the owner of a certificate with these names is; None unless exactly one of them has a rule.

    With two the certificate would be two callers at once, and which one it is would depend on an order.
    """
    found = [known[name] for name in set(names or ()) if name in known]
    return found[0] if len(found) == 1 else None
