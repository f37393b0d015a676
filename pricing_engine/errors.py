"""Errors of a whole price request; what concerns one line is a `LineStatus` instead.

PricingError
├── UnknownCustomerError    the customer id is in no table
├── CurrencyRequiredError   the empty customer was asked about without naming a currency
└── InvalidCurrencyError    the currency is not three upper-case letters
"""


class PricingError(Exception):
    """A price request that can't be answered as a whole."""


class UnknownCustomerError(PricingError):
    """The customer id is in no table of the snapshot."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"customer {customer_id!r} is unknown")
        self.customer_id = customer_id


class CurrencyRequiredError(PricingError):
    """An empty customer id asks for what everyone gets: the currency must be named (docs/pricing.md, "Statuses")."""

    def __init__(self) -> None:
        super().__init__("currency is required when customer_id is empty")


class InvalidCurrencyError(PricingError):
    """A currency is an ISO 4217 code: three upper-case letters."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"currency {currency!r} is not an ISO 4217 code of three upper-case letters")
        self.currency = currency
