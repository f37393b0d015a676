"""For how many units a price is (P14)."""

import pytest

from tests.price_tables import Case, cases, check

PRICE_UNIT = """
# a discount on a price per thousand is not rounded to what a price of one could carry
book list
book own for site
price list A 12.35 per=1000
price own A discount=47.5 of=list
? site 250000 A -> 6.48375 by own per=1000 total=1620.94
? site -250000 A -> 6.48375 by own per=1000 total=-1620.94
? site 1 A -> 6.48375 by own per=1000 total=0.01

# a case of 126 that is ordered by the piece, and a price per thousand with four decimals
item B
book own for site
price own A 98.50 per=126
price own B 3.4567 per=1000
? site 1260000 A -> 98.5 by own per=126 total=985000
? site 63 A -> 98.5 by own per=126 total=49.25
? site 1000000 B -> 3.4567 by own per=1000 total=3456.7

# rounding acts on the price of so many, once
item B
item C
book list
book own round=0.01 for site
price list A 12.345 per=1000
price list B 0.004
price own A discount=0 of=list
price own B discount=0 of=list
price own C 0.004 per=100 zero
? site 1000 A -> 12.35 by own per=1000 total=12.35
? site 1 B -> NO_PRICE ZERO_PRICE
? site 1 C -> 0 by own per=100 total=0

# the units are those asked
book own for site
price own A 12 per=1000
price own A 150 per=100 uom=THIRD
? site 1000 A -> 12 by own per=1000 total=12
? site 1000 BOX A -> 144 by own per=1000 total=144
? site 1000 THIRD A -> 150 by own per=100 total=1500

# a computed price is for as many as its basis, unless it says so itself
item B
item C
book list
book middle
book own for site
cost A 2 EUR
price list A 30 per=7
price list B 30 per=7
price list C 30
price middle A multiplier=2 of=list
price middle B multiplier=2 of=list per=100
price middle C multiplier=2 of=list
price own A discount=50 of=middle
price own B discount=50 of=middle
price own C discount=50 of=middle per=100
? site 7 A -> 30 by own per=7 total=30
? site 7 B -> 428.571429 by own per=100 total=30
? site 7 C -> 3000 by own per=100 total=210

# a price on cost is for one, unless it says so
item B
book own for site
cost A 0.002 EUR
cost B 0.002 EUR
price own A markup=25
price own B markup=25 per=1000
? site 1000 A -> 0.0025 by own total=2.5
? site 1000 B -> 2.5 by own per=1000 total=2.5

# the floor is of one unit, and rounds the price of so many up
book list
book own floor=20 round=0.01 for site
cost A 0.0101 EUR
price list A 13 per=1000
price own A discount=50 of=list
? site 1000 A -> 12.63 by own per=1000 total=12.63 lifted

# books compare by the price of one
layer low 1 lowest
layer high 2 highest
book a layer=low for site
book b layer=low for site
book c layer=high for lone
book d layer=high for lone
price a A 9
price b A 899 per=100
price c A 9
price d A 901 per=100
? site 1 A -> 899 by b per=100 total=8.99
? lone 1 A -> 901 by d per=100 total=9.01

# breaks count units, whatever the price is for
book own for site
price own A 12 per=100
price own A 10 per=1000 min=500
? site 499 A -> 12 by own per=100 total=59.88
? site 500 A -> 10 by own per=1000 total=5

# conversion is of one unit as well
rate EUR USD 1.25
book own for site
price own A 12.35 per=1000
? site 1000 A in USD -> 15.4375 by own per=1000 total=15.44 converted

# an answer that changes its price unit alone is another answer
book own for site
price own A 10 per=100 to=2024-06-30
price own A 10 per=100 from=2024-07-01 to=2024-07-31
price own A 10 per=10 from=2024-08-01
? site 100 A -> 10 by own per=100 total=10 until=2024-07-01
? site 100 A at 2024-08-02 -> 10 by own per=10 total=100 until=never

# as large as a price unit gets, with the coarsest and the finest coins
customer yens JPY
customer dinars KWD
book jp currency=JPY for yens
book kw currency=KWD for dinars
price jp A 9223372036854 per=1000000
price kw A 1 per=1000000
? yens 1000000 A -> 9223372036854 by jp per=1000000 total=9223372036854
? yens 1000001 A -> OUT_OF_RANGE
? dinars 500 A -> 1 by kw per=1000000 total=0.001
? dinars 499 A -> 1 by kw per=1000000 total=0
"""


@pytest.mark.parametrize("case", cases(PRICE_UNIT), ids=str)
def test_a_price_is_for_as_many_units_as_its_entry_says(case: Case) -> None:
    check(case)
