"""How a price is made: methods, costs, floor, rounding (P7-P9)."""

import pytest

from tests.price_tables import Case, cases, check

METHODS = """
# each method makes its price of its basis
item B
item C
item D
item E
book list
book own for site
price list * 100
price own A discount=25 of=list
price own B multiplier=0.333333 of=list
price own C markup=25 of=list
price own D margin=25 of=list
price own E 42
? site 1 A -> 75 by own
? site 1 B -> 33.3333 by own
? site 1 C -> 125 by own
? site 1 D -> 133.333333 by own
? site 1 E -> 42 by own

# markup and margin are on cost when no basis is written
item B
book own for site
cost A 8 EUR
cost B 8 EUR
price own A markup=25
price own B margin=20
? site 1 A -> 10 by own
? site 1 B -> 10 by own
? site 1 BOX A -> 120 by own

# a discount and a multiplier may be on cost when it is written
item B
book own for site
cost A 8 EUR
cost B 8 EUR
price own A discount=-25 of=cost
price own B multiplier=1.5 of=cost
? site 1 A -> 10 by own
? site 1 B -> 12 by own

# the basis answers for the same item, unit and quantity
book list
book own for site
price list A 10
price list A 8 min=24
price list A 90 uom=BOX min=5
price own * discount=50 of=list
? site 23 A -> 5 by own
? site 24 A -> 4 by own
? site 2 BOX A -> 48 by own
? site 5 BOX A -> 45 by own

# the customer needs no agreement with the basis, and gets no price from it directly
book list
book own for site
price list A 10
price own metal discount=10 of=list
? site 1 A -> 9 by own
? lone 1 A -> NO_PRICE

# three links, none rounded in between
book b3 round=1/up
book b2 round=1/up
book b1 round=1/up
book own for site
price b3 A 10.01
price b2 A multiplier=1.1 of=b3
price b1 A multiplier=1.1 of=b2
price own A multiplier=1.1 of=b1
? site 1 A -> 13.32331 by own

# two links down to a cost
book b1
book own for site
cost A 3 EUR
price b1 A margin=70
price own A discount=10 of=b1
? site 1 A -> 9 by own

# a chain through thirds comes back exactly
book b2
book b1
book own for site
price b2 A 10
price b1 A margin=-200 of=b2
price own A multiplier=3 of=b1
? site 1 A -> 10 by own

# a basis in another currency is converted into the book's
book list currency=USD
book own for site
rate USD EUR 0.8
price list A 10
price own A discount=10 of=list
? site 1 A -> 7.2 by own

# the book's currency, then the asked one: each conversion is direct, exact and unrounded
book list currency=USD
book own for site
rate EUR USD 3
rate JPY EUR 7
price list A 10
price own A discount=10 of=list
? site 7 A in JPY -> 0.428571 by own converted total=3

# a basis without a rate into the book's currency gives nothing
book list currency=USD
book own for site
book fallback for everyone
price list A 10
price own A discount=10 of=list
price fallback A 20
? site 1 A -> 20 by fallback MISSING_INPUT

# below its own first break a basis falls through to nothing
book list
book own for site
book fallback for everyone
price list A 10 min=10
price own A discount=10 of=list
price fallback A 20
? site 9 A -> 20 by fallback
? site 10 A -> 9 by own

# a basis that says first_break answers below it
book list below=first_break
book own for site
price list A 10 min=10
price own A discount=10 of=list
? site 9 A -> 9 by own

# a basis that says no_price gives the entry no price, and does not end the line
book list below=no_price
book own for site
book fallback for everyone
price list A 10 min=10
price own A discount=10 of=list
price fallback A 20
? site 9 A -> 20 by fallback

# without any fallback the basis's minimum is named
book list below=no_price
book own for site
price list A 10 min=10
price own A discount=10 of=list
? site 9 A -> BELOW_MINIMUM 10

# a basis that is not valid gives nothing
book list from=2024-01-01 to=2024-06-30
book own for site
price list A 10
price own A discount=10 of=list
? site 1 A at 2024-06-30T23:59:59Z -> 9 by own until=2024-07-01
? site 1 A at 2024-07-01 -> NO_PRICE MISSING_INPUT
? site 1 A at 2023-12-31 -> NO_PRICE MISSING_INPUT until=2024-01-01

# a row that cannot give a price leaves it to the less specific one
book own for site
price own A markup=25
price own * 11
? site 1 A -> 11 by own MISSING_INPUT
"""

COSTS = """
# the request's branch, else the customer's, else the row without one
book own for everyone
cost A 10 EUR
cost A 20 EUR branch=north
cost A 30 EUR branch=south
price own A markup=0
? site 1 A -> 20 by own
? site 1 A from south -> 30 by own
? site 1 A from east -> 20 by own
? lone 1 A -> 10 by own
? lone 1 A from south -> 30 by own
? lone 1 A from east -> 10 by own
? everyone 1 A in EUR from north -> 20 by own

# the cost that has begun last counts, of the right branch
book own for everyone
cost A 10 EUR
cost A 11 EUR from=2024-06-01
cost A 20 EUR branch=north from=2024-07-01
price own A markup=0
? site 1 A -> 11 by own until=2024-07-01
? site 1 A at 2024-07-01 -> 20 by own until=never
? site 1 A at 2024-05-31 -> 10 by own until=2024-06-01

# a cost of zero prices at zero only where zero is meant
item B
book own for everyone
cost A 0 EUR
cost B 0 EUR
price own A markup=25
price own B markup=25 zero
? site 1 A -> NO_PRICE ZERO_PRICE
? site 1 B -> 0 by own total=0
"""

FLOOR = """
# the floor lifts a computed price to its margin, rounds up and says so
book list
book own floor=20 round=0.05/half_up for site
cost A 8.01 EUR
price list A 10
price own A discount=50 of=list
? site 1 A -> 10.05 by own lifted

# a price above the floor is left alone
book list
book own floor=20 round=0.1/down for site
cost A 7.99 EUR
price list A 10
price own A discount=0 of=list
? site 1 A -> 10 by own

# a price that equals its floor is not lifted
book list
book own floor=20 round=3/down for site
cost A 8 EUR
price list A 10
price own A discount=0 of=list
? site 1 A -> 9 by own

# a net price has no floor
book own floor=20 for site
cost A 8 EUR
price own A 1
? site 1 A -> 1 by own

# no cost, no floor
book list
book own floor=20 for site
price list A 10
price own A discount=90 of=list
? site 1 A -> 1 by own

# the floor of a unit is the cost of that unit
book list
book own floor=20 for site
cost A 8 EUR
price list A 10
price own A discount=50 of=list
? site 1 BOX A -> 120 by own lifted

# a floor of 0 % is the cost itself
book list
book own floor=0 for site
cost A 8 EUR
price list A 10
price own A discount=50 of=list
? site 1 A -> 8 by own lifted

# a cost in another currency is converted, a floor without a rate is none
item B
book list
book own floor=20 for site
rate USD EUR 0.5
cost A 16 USD
cost B 16 JPY
price list * 10
price own * discount=50 of=list
? site 1 A -> 10 by own lifted
? site 1 B -> 5 by own

# lowest compares lifted prices
layer prices 1 lowest
book list
book own floor=20 for site
book other for everyone
cost A 8 EUR
price list A 10
price own A discount=50 of=list
price other A 9
? site 1 A -> 9 by other

# a basis's own floor is part of its price, the answer is not lifted itself
book list
book middle floor=20
book own for site
cost A 8 EUR
price list A 10
price middle A discount=50 of=list
price own A discount=10 of=middle
? site 1 A -> 9 by own
"""

HALVES = [  # increment, exact price, then half_up, half_even, half_down, up, down
    ("0.01", "0.125", "0.13", "0.12", "0.12", "0.13", "0.12"),
    ("0.01", "0.135", "0.14", "0.14", "0.13", "0.14", "0.13"),
    ("0.01", "0.125001", "0.13", "0.13", "0.13", "0.13", "0.12"),
    ("0.01", "0.124999", "0.12", "0.12", "0.12", "0.13", "0.12"),
    ("0.01", "0.12", "0.12", "0.12", "0.12", "0.12", "0.12"),
    ("0.05", "0.125", "0.15", "0.1", "0.1", "0.15", "0.1"),
    ("0.05", "0.175", "0.2", "0.2", "0.15", "0.2", "0.15"),
    ("1", "2.5", "3", "2", "2", "3", "2"),
    ("1", "3.5", "4", "4", "3", "4", "3"),
    ("3", "4.5", "6", "6", "3", "6", "3"),
    ("3", "7.5", "9", "6", "6", "9", "6"),
    ("0.25", "10.375", "10.5", "10.5", "10.25", "10.5", "10.25"),
    ("0.000001", "1.000001", "1.000001", "1.000001", "1.000001", "1.000001", "1.000001"),
]
MODES = ["half_up", "half_even", "half_down", "up", "down"]
ROUNDED = "\n".join(
    [
        *(f"customer {mode} EUR" for mode in MODES),
        *(f"item H{place}" for place in range(len(HALVES))),
        *(
            f"book {mode}{place} round={increment}/{mode} for {mode}\nprice {mode}{place} H{place} {price}"
            for mode in MODES
            for place, (increment, price, *_) in enumerate(HALVES)
        ),
    ]
)
"""An item for each row, and a book of each mode for each of them."""

ROUNDING = """
# a half below the finest price rounds by the book's mode, half up where it says nothing
item B
book list
book plain for site
book even round=0.000001/half_even for lone
price list A 0.000001
price list B 0.000003
price plain * multiplier=1.5 of=list
price even * multiplier=1.5 of=list
? site 1 A -> 0.000002 by plain
? site 1 B -> 0.000005 by plain
? lone 1 A -> 0.000002 by even
? lone 1 B -> 0.000004 by even

# a computed price that rounds to zero is none, unless zero is meant
item B
book own round=1/down for site
book half for lone
book list
price own A multiplier=0.5 of=list
price own B 0.99 zero
price half A multiplier=0.5 of=list
price list A 1.98
? site 1 A -> NO_PRICE ZERO_PRICE
? lone 1 A -> 0.99 by half
? site 1 B -> 0 by own

# zero is a price where it is meant
item B
book own for site
book list for everyone
price own A 0 zero
price list A 10
price list B 10
? site 1 A -> 0 by own total=0
? site 1 B -> 10 by list

# a discount of 100 % is a price where zero is meant
book list
book own for site
price list A 10
price own A discount=100 of=list zero
? site 5 A -> 0 by own total=0

# extended prices round half up on the magnitude, once
book own for site
price own A 0.005
? site 1 A -> 0.005 by own total=0.01
? site -1 A -> 0.005 by own total=-0.01
? site 0.999999 A -> 0.005 by own total=0
? site 3 A -> 0.005 by own total=0.02
? site 1000 A -> 0.005 by own total=5

# the unit price is rounded before it is extended
book own round=0.01/half_up for site
price own A 0.125
? site 8 A -> 0.13 by own total=1.04
"""


@pytest.mark.parametrize("case", cases(METHODS + COSTS + FLOOR + ROUNDING), ids=str)
def test_how_a_price_is_made(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(("at", "mode"), list(enumerate(MODES)), ids=MODES)
@pytest.mark.parametrize("row", HALVES, ids=lambda row: f"{row[1]} to {row[0]}")
def test_rounding_increments_at_their_halves(row: tuple[str, ...], at: int, mode: str) -> None:
    place = HALVES.index(row)
    check(Case("rounding", ROUNDED, f"{mode} 1 H{place}", f"{row[2 + at]} by {mode}{place}"))
