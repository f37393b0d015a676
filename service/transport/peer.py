"""Who is at the other end of a connection."""

from typing import Any


def names_of(certificate: Any) -> tuple[bytes, ...] | None:
    """The subject alternative names, or else the common name, of a peer's certificate."""
    if not certificate:
        return None
    names = tuple(str(value).encode() for _, value in certificate.get("subjectAltName", ()))
    if names:
        return names
    return tuple(
        str(value).encode()
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    )
