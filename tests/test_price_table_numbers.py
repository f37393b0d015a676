"""Numbers at their edges: overflow, sign, tiny and huge values, minor units (section 3, P5, P9)."""

import pytest

from tests.price_tables import Case, cases, check

# 9223372036854.775807 is the largest price and the largest quantity
OVERFLOW = """
# the largest price itself, and one line of it
customer yens JPY
book own for site
book jp currency=JPY for yens
price own A 9223372036854.77
price jp A 9223372036854
? site 1 A -> 9223372036854.77 by own total=9223372036854.77
? yens 1 A -> 9223372036854 by jp total=9223372036854
? yens -1 A -> 9223372036854 by jp total=-9223372036854

# a price that fits and an extended price whose cents don't
customer yens JPY
book own for site
book jp currency=JPY for yens
price own A 9223372036854.775807
price jp A 9223372036854.5
? site 1 A -> OUT_OF_RANGE
? site 0.5 A -> 9223372036854.775807 by own total=4611686018427.39
? yens 1 A -> OUT_OF_RANGE
? yens -1 A -> OUT_OF_RANGE
? yens 0.1 A -> 9223372036854.5 by jp total=922337203685

# a unit price beyond the range answers OUT_OF_RANGE, whatever cheaper book stands behind it
layer contract 1
layer list 2
book own layer=contract for site
book list layer=list for everyone
price own A 9000000000000
price list A 10
? site 1 BOX A -> OUT_OF_RANGE
? site 0.01 BOX A -> OUT_OF_RANGE
? lone 1 BOX A -> 120 by list

# an extended price beyond the range does not fall through either
book own for site
book list for everyone
price own A 9000000000000
price list A 10
? site 1 A -> 9000000000000 by own total=9000000000000
? site 2 A -> OUT_OF_RANGE
? site -2 A -> OUT_OF_RANGE

# in lowest a price beyond the range loses, in highest it answers OUT_OF_RANGE
layer low 1 lowest
book own layer=low for site
book list layer=low for everyone
price own A 9000000000000
price list A 10
? site 1 BOX A -> 120 by list

# highest with a price beyond the range
layer high 1 highest
book own layer=high for site
book list layer=high for everyone
price own A 10
price list A 9000000000000
? site 1 BOX A -> OUT_OF_RANGE
? site 1 A -> 9000000000000 by list

# rounding up may leave the range
book own round=1000000000000/up for site
book below round=1000000000000/down for lone
price own A 9000000000000.5
price below A 9000000000000.5
? site 0.1 A -> OUT_OF_RANGE
? lone 0.1 A -> 9000000000000 by below

# half a micro above the largest price: up leaves the range, down stays in it
unit A HALF 3/2
book up for site
book down round=0.000001/down for lone
price up A 6148914691236.517205
price down A 6148914691236.517205
? site 0.1 HALF A -> OUT_OF_RANGE
? lone 0.1 HALF A -> 9223372036854.775807 by down total=922337203685.48

# an extended price that rounds up to 2^63 minor units
book own for site
book other for lone
price own A 258128591.47764
price other A 699115819.783666
? site 357316947.497222 A -> OUT_OF_RANGE
? site -357316947.497222 A -> OUT_OF_RANGE
? lone 131929099.240078 A -> OUT_OF_RANGE
? lone -131929099.240078 A -> OUT_OF_RANGE

# conversion may leave the range
customer yens JPY
book own for everyone
rate EUR JPY 130
price own A 90000000000
? site 1 A -> 90000000000 by own
? yens 1 A -> OUT_OF_RANGE

# an overflow between two links is none: only the answer must fit
book b1
book own for site
price b1 A 9000000000000
price own A multiplier=0.000001 of=b1
? site 1 BOX A -> 108000000 by own

# the largest quantities, both signs
book own for site
price own A 0.000001
? site 9223372036854.775807 A -> 0.000001 by own total=9223372.04
? site -9223372036854.775807 A -> 0.000001 by own total=-9223372.04
? site -9223372036854.775808 A -> INVALID_QUANTITY
? site 9223372036854.775807 BOX A -> 0.000012 by own total=110680464.44

# the largest quantity reaches the largest break, one less does not
book own for site
price own A 0.5
price own A 0.25 min=9223372036854.775807
? site 9223372036854.775807 A -> 0.25 by own total=2305843009213.69
? site 9223372036854.775806 A -> 0.5 by own total=4611686018427.39
? site 9223372036854.775807 BOX A -> OUT_OF_RANGE
? site 3074457345618.258602 THIRD A -> 0.166667 by own total=512410582422.16

# the smallest quantity
book own for site
price own A 10
price own A 9 min=0.000001
? site 0.000001 A -> 9 by own total=0
? site -0.000001 A -> 9 by own total=0
? site 0.000001 THIRD A -> 3.333333 by own total=0
? site 0.000003 THIRD A -> 3 by own total=0
"""

MINOR_UNITS = """
# extended prices round to the minor unit: 2 decimals, 0 and 3
customer yens JPY
customer dinars KWD
book euro for site
book yen currency=JPY for yens
book dinar currency=KWD for dinars
price euro A 1.2345
price yen A 1.2345
price dinar A 1.2345
? site 1 A -> 1.2345 by euro total=1.23
? yens 1 A -> 1.2345 by yen total=1
? dinars 1 A -> 1.2345 by dinar total=1.235
? site 10 A -> 1.2345 by euro total=12.35
? yens 10 A -> 1.2345 by yen total=12
? dinars 10 A -> 1.2345 by dinar total=12.345
? yens -10 A -> 1.2345 by yen total=-12
? dinars -1 A -> 1.2345 by dinar total=-1.235

# halves of a minor unit go up in magnitude
customer yens JPY
customer dinars KWD
book yen currency=JPY for yens
book dinar currency=KWD for dinars
price yen A 0.5
price dinar A 0.0005
? yens 1 A -> 0.5 by yen total=1
? yens -1 A -> 0.5 by yen total=-1
? yens 0.999999 A -> 0.5 by yen total=0
? dinars 1 A -> 0.0005 by dinar total=0.001
? dinars 0.999998 A -> 0.0005 by dinar total=0

# asked in another currency, the minor unit is the asked one's
book euro for site
rate EUR JPY 130.7
rate EUR KWD 0.333333
price euro A 1.5
? site 1 A in JPY -> 196.05 by euro total=196 converted
? site 1 A in KWD -> 0.5 by euro total=0.5 converted
? site 7 A in KWD -> 0.5 by euro total=3.5 converted
"""

EXACT = """
# numbers of more than 127 bits: a long unit, three multipliers and a rate
unit A ODD 7.000001/3.000001
book b3
book b2
book b1
book own for site
rate EUR USD 130.123457
price b3 A 9999999.999999
price b2 A multiplier=0.333333 of=b3
price b1 A multiplier=0.999999 of=b2
price own A multiplier=1.000001 of=b1
? site 1 ODD A in USD -> 1012070127.374542 by own converted

# numbers of more than 127 bits: three margins over a long unit and an inverted rate
unit A ODD 7.000001/3.000001
book b3
book b2
book b1
book own for site
rate USD EUR 0.007651
price b3 A 9999999.999999
price b2 A margin=33.333333 of=b3
price b1 A margin=66.666663 of=b2
price own A margin=0.000001 of=b1
? site 1 ODD A in USD -> 13723692193.830805 by own converted
? site -2.000001 ODD A in USD -> 13723692193.830805 by own total=-27447398111.35 converted

# a unit of nearly one: numerator and denominator of 63 bits
unit A NEAR 9223372036854.775807/9223372036854.775805
book own for site
price own A 1000000.000001
? site 1 NEAR A -> 1000000.000001 by own total=1000000

# lowest between two prices that differ beyond the 127th bit
layer prices 1 lowest
unit A NEAR 9223372036854.775807/9223372036854.775805
book base for site
book list
book same for everyone
price list A 1000000.000001
price base A 1000000.000001
price same A multiplier=1 of=list
price same A 1000000.000002 uom=NEAR
? site 1 NEAR A -> 1000000.000001 by base

# a huge rate down to a small price
customer dollars USD
book own for dollars
rate USD EUR 900000000
price own A 9223372036854.775807
? dollars 1 A -> 10248.191152 by own total=10248.19 converted

# a tiny rate leaves no price where zero is not meant
item B
customer dollars USD
book own for dollars
rate EUR USD 0.000001
price own A 0.499999
price own B 0.5
? dollars 1 A -> NO_PRICE ZERO_PRICE
? dollars 1 B -> 0.000001 by own total=0 converted

# values that a binary float can't hold
book own for site
price own A 0.1
price own A 4503599627370.497 min=2
? site 0.3 A -> 0.1 by own total=0.03
? site 2 A -> 4503599627370.497 by own total=9007199254740.99
"""


@pytest.mark.parametrize("case", cases(OVERFLOW + MINOR_UNITS + EXACT), ids=str)
def test_numbers_at_their_edges(case: Case) -> None:
    check(case)
