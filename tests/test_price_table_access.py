"""Who may buy what, which lines the ERP should confirm, which failure comes first (P11, P13, line status)."""

import pytest

from pricegrid.pricing_engine.errors import CurrencyRequiredError, InvalidCurrencyError, UnknownCustomerError
from pricegrid.pricing_engine.model import PriceQuestion
from pricegrid.pricing_engine.rules.reference import resolve
from tests.price_tables import Case, ask_of, cases, check, instant_us, world

ENTITLEMENT = """
# without a row everything is allowed
book list for everyone
price list * 10
? site 1 A -> 10 by list

# a forbidden item is NOT_ENTITLED at the service desk and unknown to the storefront
book list for everyone
price list * 10
forbid site A
? site 1 A -> NOT_ENTITLED
? site 1 A storefront -> UNKNOWN_ITEM
? site 1 GHOST storefront -> UNKNOWN_ITEM
? company 1 A storefront -> 10 by list

# the customer's row beats an ancestor's, however specific
book list for everyone
price list * 10
allow site *
forbid company A
? site 1 A -> 10 by list
? company 1 A -> NOT_ENTITLED
? group 1 A -> 10 by list

# a nearer ancestor's row beats a farther one's
book list for everyone
price list * 10
forbid company *
allow group A
? site 1 A -> NOT_ENTITLED
? group 1 A -> 10 by list

# an ancestor's row beats the class's
book list for everyone
price list * 10
allow group *
forbid class:gold A
? site 1 A -> 10 by list

# the class's row counts for its own members
book list for everyone
price list * 10
forbid class:gold metal
? site 1 A -> NOT_ENTITLED
? company 1 A -> 10 by list
? everyone 1 A in EUR -> 10 by list

# inside one owner: sku, nearest group, every item
item B metal
item C drills
item D tools
item E
book list for everyone
price list * 10
forbid site *
allow site drills
forbid site metal
allow site B
? site 1 A -> NOT_ENTITLED
? site 1 B -> 10 by list
? site 1 C -> 10 by list
? site 1 D -> NOT_ENTITLED
? site 1 E -> NOT_ENTITLED
"""

PRECEDENCE = """
# an invalid quantity comes before all others
item E source=erp
forbid site A
book list for everyone
? site 0 GHOST -> INVALID_QUANTITY
? site 0 A -> INVALID_QUANTITY
? site 0 E PALLET -> INVALID_QUANTITY

# an unknown item before an unknown unit
book list for everyone
? site 1 PALLET GHOST -> UNKNOWN_ITEM
? site 1 PALLET A -> UNKNOWN_UOM

# NOT_ENTITLED before an unknown unit
forbid site A
book list for everyone
? site 1 PALLET A -> NOT_ENTITLED
? site 1 PALLET A storefront -> UNKNOWN_ITEM

# an unknown unit before no price, and it is no exception
policy flagged=site
book list for everyone
? site 1 PALLET A -> UNKNOWN_UOM
? site 1 A -> NO_PRICE
"""

EXCEPTIONS = """
# an item of the ERP's: the matrix price is marked, without one the ERP is missed
item E source=erp
item F source=erp
item G source=erp
book list for everyone
price list E 10
price list G 10 min=5
? site 1 E -> 10 by list PRICE_SOURCE_ERP
? site 1 F -> ERP_UNAVAILABLE PRICE_SOURCE_ERP
? site 5 G -> 10 by list PRICE_SOURCE_ERP
? site 1 A -> NO_PRICE

# an item of the ERP's that the customer may not see is not given away by its mark
item E source=erp
forbid site E
book list for everyone
price list E 10
? site 1 E storefront -> UNKNOWN_ITEM
? site 1 E -> NOT_ENTITLED

# an extended price over the threshold of its currency, exclusive, returns by magnitude
policy over=EUR:100
book list for everyone
rate EUR USD 1
price list A 10
? site 10 A -> 10 by list total=100
? site 10.001 A -> 10 by list total=100.01 OVER_THRESHOLD
? site -10 A -> 10 by list total=-100
? site -11 A -> 10 by list total=-110 OVER_THRESHOLD
? site 11 A in USD -> 10 by list converted

# an agreement that expired within the grace period
policy grace_days=5
book own for site to=2024-06-10
book list for everyone
price own A 10
price list A 20
? site 1 A at 2024-06-10T23:59:59.999999Z -> 10 by own
? site 1 A at 2024-06-11 -> 20 by list AGREEMENT_EXPIRED
? site 1 A at 2024-06-15T23:59:59.999999Z -> 20 by list AGREEMENT_EXPIRED
? site 1 A at 2024-06-16 -> 20 by list
? company 1 A at 2024-06-11 -> 20 by list

# an inherited agreement expires for those below it, one that is not inherited only for its owner
policy grace_days=5
book parents for company to=2024-06-10
book private for group to=2024-06-10 inherit=false
book list for everyone
item B
price parents A 10
price private B 10
price list * 20
? site 1 A at 2024-06-12 -> 20 by list AGREEMENT_EXPIRED
? site 1 B at 2024-06-12 -> 20 by list
? group 1 B at 2024-06-12 -> 20 by list AGREEMENT_EXPIRED

# a renewed agreement has not expired, nor has one over other items
policy grace_days=5
item B
book own for site to=2024-06-10
agree own for site from=2024-06-11
book other for site to=2024-06-10
book list for everyone
price own A 10
price other B 10
price list * 20
? site 1 A at 2024-06-12 -> 10 by own
? site 1 B at 2024-06-12 -> 20 by list AGREEMENT_EXPIRED

# a customer or an item flagged at run time
item B
policy flagged=site,B
book list for everyone
price list * 10
? site 1 A -> 10 by list FLAGGED
? company 1 B -> 10 by list FLAGGED
? company 1 A -> 10 by list

# one reason is named: the ERP's item, no price, threshold, expiry, flag
item E source=erp
item F
policy over=EUR:100 grace_days=5 flagged=site
book own for site to=2024-06-14
book list for everyone
price own * 10
price list A 20
price list E 20
? site 6 E -> 20 by list PRICE_SOURCE_ERP
? site 6 F -> NO_PRICE
? site 6 A -> 20 by list OVER_THRESHOLD
? site 5 A -> 20 by list AGREEMENT_EXPIRED
? site 5 A at 2024-06-20 -> 20 by list FLAGGED

# a line below its minimum may be flagged; one out of range is answered as that alone
policy flagged=site
item B
book list for everyone
price list A 10 min=5
price list B 9000000000000
? site 1 A -> BELOW_MINIMUM 5 FLAGGED
? site 2 B -> OUT_OF_RANGE
"""


@pytest.mark.parametrize("case", cases(ENTITLEMENT + PRECEDENCE + EXCEPTIONS), ids=str)
def test_who_may_buy_and_what_the_erp_should_confirm(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("customer", "currency", "error"),
    [
        ("ghost", "EUR", UnknownCustomerError),
        ("ghost", "", UnknownCustomerError),
        ("", "", CurrencyRequiredError),
        ("site", "euro", InvalidCurrencyError),
        ("site", "eur", InvalidCurrencyError),
        ("", "EU1", InvalidCurrencyError),
    ],
)
def test_a_request_without_a_known_customer_or_currency_is_refused(
    customer: str, currency: str, error: type[Exception]
) -> None:
    at = world("book list for everyone\nprice list * 10")
    question = PriceQuestion(customer, "A", 1_000_000, instant_us("2024-06-15"), currency=currency)
    with pytest.raises(error):
        at.engine.price(ask_of(question))
    with pytest.raises(error):
        at.engine.explain(ask_of(question), 0)
    with pytest.raises(error):
        resolve(at.data, question)
