"""The limits of identity. Apart from `service.limits`, of which compiled kernels are made."""

from typing import Final

TOKEN_BYTES_MAX: Final = 8 * 1024  # gRPC itself refuses metadata of more than 16 KB
TOKENS_MAX: Final = 65_536  # verified tokens remembered by a worker
REFUSED_TOKENS_MAX: Final = 4_096
TOKEN_KEPT_US: Final = 300_000_000  # after this long a token is verified again, if it has not expired before
REFUSED_KEPT_US: Final = 10_000_000  # how long a refused token is refused without a look at it
LEEWAY_S_DEFAULT: Final = 30  # clocks of issuers differ
LEEWAY_S_MAX: Final = 300
GRANTS_MAX: Final = 1_000  # customers and sub-trees of one identity
VIEWS_MAX: Final = 1_024  # sets of customers worked out and kept for each snapshot
VIEW_CUSTOMERS_MAX: Final = 2_000_000  # customers of all views of a snapshot, of some 30 bytes each
KEYS_MAX: Final = 64  # of one issuer
JWKS_BYTES_MAX: Final = 1024 * 1024
JWKS_TIMEOUT_S: Final = 5.0
JWKS_REFRESH_S_DEFAULT: Final = 60  # how often the keys of a `jwks_url` are fetched
JWKS_REFRESH_S_MAX: Final = 86_400
KEY_POLL_S: Final = 1.0  # how often a `jwks_file` is looked at
TELL_S: Final = 1.0  # how often a worker tells the supervisor of an unknown key
NUDGE_S: Final = 30.0  # an unknown key makes the supervisor fetch at most this often
CERTIFICATE_POLL_S: Final = 0.5  # how often a handshake looks whether the files have changed
SETTLE_S: Final = 0.1  # how long handshakes wait when certificates are replaced
RECHECK_S: Final = 1.0  # how often a stream checks that its caller may still call
MINT_TTL_S_DEFAULT: Final = 3_600
MINT_TTL_S_MAX: Final = 31 * 86_400
