"""Graduated ladders, and breaks that are amounts (P19)."""

import pytest

from tests.price_tables import Case, cases, check

GRADUATED = """
# each unit at the price of its own break; the unit price is the average, and returns cost as much
book list breaks=graduated for everyone
price list A 10 min=1
price list A 8 min=10
? lone 1 A -> 10 by list total=10
? lone 9 A -> 10 by list total=90
? lone 10 A -> 9.8 by list total=98
? lone 12 A -> 9.5 by list total=114
? lone -12 A -> 9.5 by list total=-114
? lone 9.5 A -> 10 by list total=95

# the total is that of the slices, not the rounded average times the quantity
book list breaks=graduated for everyone
price list A 30 min=1
price list A 35 min=2
? lone 3 A -> 33.333333 by list total=100
? lone 3000000 A -> 34.999998 by list total=104999995

# a ladder from 0 says beyond which quantity
book list breaks=graduated for everyone
price list A 10
price list A 8 min=10
? lone 10 A -> 10 by list total=100
? lone 12 A -> 9.666667 by list total=116
? lone 0.5 A -> 10 by list total=5

# breaks per base unit and in the asked unit
book list breaks=graduated for lone
price list A 10 min=1
price list A 8 min=13
book boxes breaks=graduated for group
price boxes A 100 uom=BOX min=1
price boxes A 90 uom=BOX min=2
? lone 2 BOX A -> 108 by list total=216
? lone 72 THIRD A -> 3 by list total=216
? group 3 BOX A -> 93.333333 by boxes total=280

# windows: at each break the newest, or the newest window's ladder alone
book each breaks=graduated for lone
price each A 10 min=1
price each A 7 min=10
price each A 8 min=5 from=2024-06-01 to=2024-06-30
book whole breaks=graduated windows=replace for group
price whole A 10 min=1
price whole A 7 min=10
price whole A 8 min=5 from=2024-06-01 to=2024-06-30
? lone 12 A -> 8.416667 by each total=101 until=2024-07-01
? lone 4 A -> 10 by each until=never
? group 12 A -> 8 by whole total=96
? group 4 A -> 10 by whole

# every slice is rounded as the book says, and has its price unit
book list
price list A 9.99
book deal breaks=graduated round=0.01 for lone
price deal A discount=10 of=list min=1
price deal A discount=20 of=list min=3
book screws breaks=graduated for group
price screws A 12 per=1000 min=1
price screws A 10 per=1000 min=1001
? lone 4 A -> 8.49 by deal total=33.96
? group 1500 A -> 11.333333 by screws per=1000 total=17

# the price unit is that of the break that is reached, though nothing has gone beyond it yet
book list breaks=graduated for everyone
price list A 12 per=100
price list A 10 min=100
? lone 100 A -> 0.12 by list total=12
? lone 101 A -> 0.217822 by list total=22

# below the first break
book soft breaks=graduated for lone
price soft A 10 min=5
price soft A 8 min=7
book first breaks=graduated below=first_break for group
price first A 10 min=5
price first A 8 min=7
? lone 3 A -> BELOW_MINIMUM 5
? lone 8 A -> 9.5 by soft total=76
? group 3 A -> 10 by first total=30

# lowest compares averages; a basis gives its average; a surcharge is on each slice
layer best 1 lowest
layer extra 2 add
book slices layer=best breaks=graduated for lone
price slices A 10 min=1
price slices A 5 min=10
book flat layer=best for lone
price flat A 9
book deal layer=best for group
price deal A discount=10 of=slices
book fuel layer=extra for company
price fuel A plus_pct=10
book own layer=best breaks=graduated for company inherit=false
price own A 5 min=1
price own A 4 min=10
? lone 9 A -> 9 by flat
? lone 20 A -> 7.25 by slices total=145
? group 20 A -> 6.525 by deal total=130.5
? company 12 A -> 5.225 by own total=62.7
"""

AMOUNTS = """
# what the line costs by the basis decides, in any unit; below it the quantity that costs so much is said
book list
price list A 100
book deal on=amount for everyone
price deal A discount=5 of=list min=1000
price deal A discount=10 of=list min=5000
? lone 9.999999 A -> BELOW_MINIMUM 10
? lone 10 A -> 95 by deal
? lone -10 A -> 95 by deal
? lone 50 A -> 90 by deal total=4500
? lone 1 BOX A -> 1140 by deal

# in the book's currency, by the basis' price at the quantity
rate USD EUR 0.5
book list currency=USD
price list A 100
price list A 80 min=30
book deal on=amount for everyone
price deal A discount=5 of=list min=1000
? lone 19 A -> BELOW_MINIMUM 20
? lone 20 A -> 47.5 by deal
? lone 30 A -> 38 by deal

# without a break of an amount a price is a price; without a basis' price there is none
book list
price list B 100
item B
book deal on=amount for everyone
price deal A 7
price deal A off=1 of=list min=1000
price deal B 99
price deal B off=10 of=list min=500
? lone 1000 A -> 7 by deal MISSING_INPUT
? lone 4 B -> 99 by deal
? lone 5 B -> 90 by deal
"""

PUBLISHED = """
# SAP: a graduated scale of 30 for the first seat and 35 for the second is 65 for two, not 60
book scale breaks=graduated for everyone
price scale A 30 min=1
price scale A 35 min=2
? lone 2 A -> 32.5 by scale total=65

# SAP: the first 100 pounds at 4.00, the next 100 at 3.90, the third at 3.80
book scale breaks=graduated for everyone
price scale A 4
price scale A 3.9 min=100
price scale A 3.8 min=200
? lone 100 A -> 4 by scale total=400
? lone 250 A -> 3.92 by scale total=980
"""


@pytest.mark.parametrize(
    "case", [case for table in (GRADUATED, AMOUNTS, PUBLISHED) for case in cases(table)], ids=str
)
def test_ladders(case: Case) -> None:
    check(case)
