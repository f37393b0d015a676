"""Amounts off, surcharges on top of the price that answers, and prices with an ending (P16)."""

import pytest

from tests.price_tables import Case, cases, check

AMOUNTS = """
# an amount off is of one base unit, and of one asked unit where the entry has one; never below 0
book list
price list A 100
price list A 900 uom=BOX
book deal for everyone
price deal A off=30 of=list
price deal A off=50 of=list uom=BOX
price deal B off=100 of=list
price deal C off=100 of=list zero
item B
item C
price list B 80
price list C 80
? lone 1 A -> 70 by deal
? lone 2 THIRD A -> 23.333333 by deal total=46.67
? lone 1 BOX A -> 850 by deal
? lone 1 B -> NO_PRICE ZERO_PRICE
? lone 1 C -> 0 by deal

# off what another unit's price makes of it, in the book's own currency, then converted
rate USD EUR 0.5
book list currency=USD
price list A 100
book deal currency=USD for everyone
price deal A off=30.000001 of=list
? lone 1 A -> 35 by deal converted
? lone 1 A in USD -> 69.999999 by deal

# off a cost, off a chain, and above a floor
cost A 50 EUR
book one floor=50 for lone
price one A off=10 of=cost
book list
price list A 200
book two
price two A off=20 of=list
book three for group
price three A off=30 of=two
? lone 1 A -> 100 by one lifted
? group 1 A -> 150 by three

# an amount is for as many units as the price: what its entry says, else its basis
book list
price list A 12.35 per=1000
price list B 5
item B
book deal for everyone
price deal A off=2.35 of=list
price deal B off=100 per=1000 of=list
? lone 5000 A -> 10 by deal per=1000 total=50
? lone 50 BOX A -> 120 by deal per=1000 total=6
? lone 10 B -> 4900 by deal per=1000 total=49
"""

SURCHARGES = """
# percentages are of the price that answers, not of one another; amounts come on top; rounded once
layer prices 1
layer extra 9 add
book list round=0.05 for everyone
price list A 10.02
book metal layer=extra for everyone
price metal A plus_pct=10
book fuel layer=extra for everyone
price fuel * plus_pct=2
book pallet layer=extra for everyone
price pallet metal plus=0.5
price pallet B plus=7
item B
? lone 1 A -> 11.7 by list
? lone 1 B -> NO_PRICE

# whichever layer answers, and whatever the rank of the layer that adds
layer extra 1 add
layer contract 2
layer lists 3
book deal layer=contract for site
price deal A 80
book list layer=lists for everyone
price list A 100
book freight layer=extra for everyone
price freight * plus_pct=5
? site 1 A -> 84 by deal layer=contract
? lone 1 A -> 105 by list layer=lists

# a book gives one surcharge, that of its most specific entry; several ways to the book make no second one
layer prices 1
layer extra 9 add
book list for everyone
price list A 100
price list B 100
item B metal
book freight layer=extra for everyone
agree freight for lone
agree freight for group
price freight * plus=5
price freight metal plus=4
price freight A plus=3
price freight A plus=0 class=gold
? lone 1 A -> 103 by list
? lone 1 B -> 104 by list
? company 1 B -> 104 by list
? site 1 A -> 100 by list

# breaks of the quantity: nothing below the first, but with first_break what it says
layer prices 1
layer extra 9 add
book list for everyone
price list A 100
book small layer=extra below=first_break for lone
price small A plus=9 min=2
price small A plus=1 min=10
book large layer=extra below=no_price for group
price large A plus=9 min=2
? lone 1 A -> 109 by list
? lone 2 A -> 109 by list
? lone 10 A -> 101 by list
? group 1 A -> 100 by list
? group 2 A -> 109 by list

# dates of surcharges end the validity of a price
layer prices 1
layer extra 9 add
book list for everyone
price list A 100
book winter layer=extra for everyone
price winter A plus=9 from=2024-11-01 to=2024-12-31
? lone 1 A -> 100 by list until=2024-11-01
? lone 1 A at 2024-11-01 -> 109 by list until=2025-01-01
? lone 1 A at 2025-01-01 -> 100 by list until=never

# in the asked currency first; converted where there is none; without a rate the price is an exception
layer prices 1
layer extra 9 add
rate USD EUR 0.5
book list for everyone
price list A 100
price list B 100
price list C 100
item B
item C
book eur layer=extra for everyone
price eur A plus=1
book usd layer=extra currency=USD for everyone
price usd A plus=8
price usd B plus=8
book gbp layer=extra currency=GBP for everyone
price gbp B plus=1 min=5
price gbp C plus=1
price gbp C plus_pct=1 min=5
? lone 1 A -> 101 by list
? lone 1 B -> 104 by list
? lone 5 B -> 104 by list MISSING_INPUT
? lone 1 C -> 100 by list MISSING_INPUT
? lone 5 C -> 101 by list

# on units, price units and prices that a floor lifted
layer prices 1
layer extra 9 add
cost A 90 EUR
book list floor=10 round=1 for everyone
price list A markup=1
price list B 12.35 per=1000
item B
book plus layer=extra for everyone
price plus A plus=0.1
price plus A plus=9 uom=BOX
price plus B plus=0.65 per=1000
? lone 1 A -> 101 by list lifted
? lone 1 BOX A -> 1209 by list lifted
? lone 2000 B -> 13 by list per=1000 total=26
"""

ENDINGS = """
# the nearest price with the ending, by the book's rounding; from the ending itself on, and 0 stays 0
book near ending=0.99 for lone
price near A 19.4
price near A 19.49 min=2
price near A 19.490001 min=3
price near A 0.2 min=4
price near A 0 min=5 zero
price near A 0.99 min=6
? lone 1 A -> 18.99 by near
? lone 2 A -> 19.99 by near
? lone 3 A -> 19.99 by near
? lone 4 A -> 0.99 by near
? lone 5 A -> 0 by near
? lone 6 A -> 0.99 by near

# by each mode, at half way and above
book down ending=0.99 round=1/half_down for lone
price down A 19.49
price down A 19.490001 min=2
book even ending=0.99 round=1/half_even for group
price even A 19.49
price even A 18.49 min=2
book always ending=0.99 round=1/up for company
price always A 19
price always A 18.99 min=2
book never ending=0.99 round=1/down for everyone
price never A 19.98
price never A 0.5 min=2
? lone 1 A -> 18.99 by down
? lone 2 A -> 19.99 by down
? group 1 A -> 18.99 by even
? group 2 A -> 18.99 by even
? company 1 A -> 19.99 by always
? company 2 A -> 18.99 by always
? everyone 1 A in EUR -> 18.99 by never
? everyone 2 A in EUR -> 0.99 by never

# the increment says how far apart they are, and is the next power of ten where none is given
book tens ending=9.9 for lone
price tens A 23
book fifty ending=0.49 round=0.5 for group
price fifty A 23.2
? lone 1 A -> 19.9 by tens
? group 1 A -> 22.99 by fifty

# of the price of so many units, and after surcharges
layer prices 1
layer extra 9 add
book list ending=0.99 for everyone
price list A 12.35 per=1000
price list B 18.4
item B
book plus layer=extra for everyone
price plus B plus_pct=5
? lone 1000 A -> 11.99 by list per=1000 total=11.99
? lone 1 B -> 18.99 by list
"""

PUBLISHED = """
# Odoo: rounding 10 and an extra fee of -0.01 make prices that end in 9.99; rounding 1 those that end in .99
book list
price list A 114
price list B 19.4
item B
book tens ending=9.99 for lone
price tens A multiplier=1 of=list
book ones ending=0.99 for everyone
price ones B multiplier=1 of=list
? lone 1 A -> 109.99 by tens
? lone 1 B -> 18.99 by ones

# SAP: a fixed amount off and a percentage of freight on the net price, as two condition types
layer prices 1
layer conditions 9 add
book PR00
price PR00 A 100
book K004 for everyone
price K004 A off=30 of=PR00
book KF00 layer=conditions for everyone
price KF00 * plus_pct=2
? lone 10 A -> 71.4 by K004 total=714
"""


@pytest.mark.parametrize(
    "case", [case for table in (AMOUNTS, SURCHARGES, ENDINGS, PUBLISHED) for case in cases(table)], ids=str
)
def test_amounts_surcharges_and_endings(case: Case) -> None:
    check(case)
