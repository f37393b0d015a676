"""Which entry of a book answers, in which unit, at which quantity (P4-P6)."""

import pytest

from tests.price_tables import Case, cases, check

SPECIFICITY = """
# an item's own row before its group's, the nearest group first, every item last
item B drills
item C tools
item D
book list for everyone
price list A 10
price list drills 9
price list tools 8
price list * 7
? site 1 A -> 10 by list
? site 1 B -> 9 by list
? site 1 C -> 8 by list
? site 1 D -> 7 by list

# the nearest group counts, not the dearest or the newest
book list for everyone
price list metal 10
price list drills 9 from=2024-06-01
? site 1 A -> 10 by list

# item level comes before class
book list for everyone
price list A 10
price list metal 9 class=gold
? site 1 A -> 10 by list

# a row for the customer's class comes before a row for all; other classes don't see it
book list for everyone
price list A 10
price list A 9 class=gold
? site 1 A -> 9 by list
? lone 1 A -> 10 by list

# class comes before unit
book list for everyone
price list A 10 class=gold
price list A 150 uom=BOX
? site 1 BOX A -> 120 by list
? lone 1 BOX A -> 150 by list

# of rows alike the one that began last answers
book list for everyone
price list A 10
price list A 11 from=2024-01-01
price list A 12 from=2024-06-15
price list A 13 from=2024-06-16
? site 1 A -> 12 by list until=2024-06-16

# with `replace` a newer ladder replaces the older one whole, above its own first break
book list windows=replace for everyone
price list A 10
price list A 5 min=100
price list A 11 min=2 from=2024-06-01
? site 1 A -> 10 by list
? site 100 A -> 11 by list
? site 100 A at 2024-05-31 -> 5 by list until=2024-06-01

# in lowest only the most specific row of a book competes
layer prices 1 lowest
book list for everyone
price list A 10
price list metal 9
price list * 8
? site 1 A -> 10 by list
"""

UNITS = """
# a base price is multiplied by the unit's factor; the base unit needs no row
book list for everyone
price list A 10
? site 1 BOX A -> 120 by list total=120
? site 2 BOX A -> 120 by list total=240
? site 1 EA A -> 10 by list
? site 1 PALLET A -> UNKNOWN_UOM

# a price for a unit answers that unit alone
book list for everyone
price list A 110 uom=BOX
? site 1 BOX A -> 110 by list
? site 1 A -> NO_PRICE
? site 1 THIRD A -> NO_PRICE

# in first the exact unit answers although the base form is cheaper
book list for everyone
price list A 9
price list A 110 uom=BOX
? site 1 BOX A -> 110 by list

# in lowest both forms compete
layer prices 1 lowest
book list for everyone
price list A 9
price list A 110 uom=BOX
? site 1 BOX A -> 108 by list

# in highest both forms compete
layer prices 1 highest
book list for everyone
price list A 10
price list A 110 uom=BOX
? site 1 BOX A -> 120 by list

# a third of a unit is exact
book list for everyone
price list A 10
price list A 9 min=1
? site 1 THIRD A -> 3.333333 by list total=3.33
? site 2.999999 THIRD A -> 3.333333 by list
? site 3 THIRD A -> 3 by list total=9

# three thirds of 10 cost what rounding each third makes them cost
book list for everyone
price list A 10
? site 3 THIRD A -> 3.333333 by list total=10
? site 3000 THIRD A -> 3.333333 by list total=10000
? site 30000 THIRD A -> 3.333333 by list total=99999.99

# a break of a unit row counts in that unit, a break of a base row in base units
book list for everyone
price list A 10
price list A 9 min=24
price list A 100 uom=BOX min=3
? site 1 BOX A -> 120 by list
? site 2 BOX A -> 108 by list
? site 3 BOX A -> 100 by list
? site 23 A -> 10 by list
? site 24 A -> 9 by list

# quantities are not rounded before a break is chosen
book list for everyone
price list A 10
price list A 9 min=12
? site 0.999999 BOX A -> 120 by list
? site 1 BOX A -> 108 by list
"""

BREAKS = """
# a break begins at its quantity, inclusive
book list for everyone
price list A 10
price list A 9 min=10
price list A 8 min=100
? site 9.999999 A -> 10 by list
? site 10 A -> 9 by list
? site 99.999999 A -> 9 by list
? site 100 A -> 8 by list

# breaks may be decimal
book list for everyone
price list A 10
price list A 9 min=0.5
price list A 8 min=2.25
? site 0.499999 A -> 10 by list
? site 0.5 A -> 9 by list
? site 2.25 A -> 8 by list

# a return finds its break by the magnitude, and its extended price is negative
book list for everyone
price list A 10
price list A 9 min=10
? site -9 A -> 10 by list total=-90
? site -10 A -> 9 by list total=-90
? site -0.5 A -> 10 by list total=-5

# owner: a lower-ranked book never supplies a higher break
book own for site
book list for everyone
price own A 10
price list A 12
price list A 5 min=100
? site 100 A -> 10 by own
? lone 100 A -> 5 by list

# owner: the book of higher rank takes over where its own ladder begins
book own for site
book list for everyone
price own A 10 min=50
price list A 12
price list A 5 min=100
? site 49 A -> 12 by list
? site 50 A -> 10 by own
? site 100 A -> 10 by own

# merge: every break is settled by itself, the highest reached answers
layer prices 1 first merge
book own for site
book list for everyone
price own A 10
price list A 12
price list A 5 min=100
? site 99 A -> 10 by own
? site 100 A -> 5 by list

# merge: at an equal break the better-ranked book answers
layer prices 1 first merge
book own for site
book list for everyone
price own A 10
price own A 9 min=100
price list A 5 min=100
? site 100 A -> 9 by own

# merge and lowest: at an equal break the cheaper book answers, but a higher break wins however dear
layer prices 1 lowest merge
book own for site
book list for everyone
price own A 10
price list A 9
price own A 15 min=100
? site 1 A -> 9 by list
? site 100 A -> 15 by own

# lowest by owner: each book answers by its own ladder, then the lowest
layer prices 1 lowest
book own for site
book list for everyone
price own A 10
price list A 9
price own A 15 min=100
? site 100 A -> 9 by list

# merge and newest: at an equal break the newest answers
layer prices 1 newest merge
book own for site
book list for everyone
price own A 10 from=2023-01-01
price list A 9 from=2024-01-01
price own A 8 min=100 from=2023-01-01
? site 1 A -> 9 by list
? site 100 A -> 8 by own

# owned ladders never combine breaks of different unit forms
book own for site
book list for everyone
price own A 110 uom=BOX
price list A 5 min=24
? site 2 BOX A -> 110 by own

# merge puts the breaks of both unit forms on one ladder, in the asked unit
layer prices 1 first merge
book own for site
book list for everyone
price own A 110 uom=BOX
price list A 5 min=24
? site 1.999999 BOX A -> 110 by own
? site 2 BOX A -> 60 by list
? site 24 A -> 5 by list

# merge: equal breaks go to the better rank, whatever its unit form
layer prices 1 first merge
book own for site
book list for everyone
price own A 9 min=24
price list A 100 uom=BOX min=2
? site 2 BOX A -> 108 by own

# merge: at equal breaks and rank the exact unit answers
layer prices 1 first merge
book list for everyone
price list A 9 min=24
price list A 110 uom=BOX min=2
price list A 8 min=25
? site 2 BOX A -> 110 by list
? site 2.083333 BOX A -> 110 by list
? site 2.083334 BOX A -> 96 by list

# merge and lowest: at equal breaks both unit forms compete
layer prices 1 lowest merge
book list for everyone
price list A 9 min=24
price list A 110 uom=BOX min=2
? site 2 BOX A -> 108 by list

# merge: a third of a piece is compared exactly
layer prices 1 first merge
book list for everyone
price list A 3.4 uom=THIRD min=100
price list A 10 min=33.333333
? site 99.999999 THIRD A -> 3.333333 by list
? site 100 THIRD A -> 3.4 by list

# merge never combines breaks of different currency standing
layer prices 1 first merge
book own for site
book dollars currency=USD for everyone
rate USD EUR 1
price own A 10
price dollars A 5 min=100
? site 100 A -> 10 by own

# breaks of different item levels do not combine inside a book
book list for everyone
price list A 10
price list metal 5 min=100
? site 100 A -> 10 by list
"""

BELOW = """
# the first break is that of all windows in force, and of both unit forms
book list below=no_price for everyone
price list A 10 min=3
price list A 8 min=5 from=2024-06-01
price list A 90 uom=BOX min=2
? site 2 A -> BELOW_MINIMUM 3
? site 3 A -> 10 by list
? site 0.25 BOX A -> 120 by list
? site 0.2 BOX A -> BELOW_MINIMUM 0.25
? site 2 BOX A -> 90 by list

# first_break: the price of the lowest break of all
book list below=first_break for everyone
price list A 10 min=3
price list A 8 min=5 from=2024-06-01
price list A 90 uom=BOX min=2
? site 1 A -> 10 by list
? site 0.2 BOX A -> 120 by list
? site 1 BOX A -> 96 by list

# fall_through: below the first break the next less specific row answers
book list for everyone
price list A 9 min=10
price list metal 11
? site 9 A -> 11 by list
? site 10 A -> 9 by list

# fall_through: else the next book, else the next layer
layer contract 1
layer list 2
book own layer=contract for site
book parents layer=contract for company
book list layer=list for everyone
price own A 9 min=10
price parents A 11 min=5
price list A 20
? site 10 A -> 9 by own
? site 5 A -> 11 by parents
? site 4 A -> 20 by list

# fall_through with nothing behind: the smallest quantity that would have a price
book own for site
book list for everyone
price own A 9 min=10
price list A 11 min=5.5
? site 1 A -> BELOW_MINIMUM 5.5

# the minimum is in the asked unit, rounded up to 10^-6
book list for everyone
price list A 9 min=10
? site 0.5 BOX A -> BELOW_MINIMUM 0.833334
? site 1 THIRD A -> BELOW_MINIMUM 30
? site 0.833334 BOX A -> 108 by list
? site 0.833333 BOX A -> BELOW_MINIMUM 0.833334

# a return below the break, too
book list for everyone
price list A 9 min=10
? site -9 A -> BELOW_MINIMUM 10
? site -10 A -> 9 by list total=-90

# first_break: below the first break its price answers
book own below=first_break for site
book list for everyone
price own A 9 min=10
price own A 8 min=20
price list A 11
? site 1 A -> 9 by own
? site 20 A -> 8 by own

# no_price: a book first in order ends the line, whatever stands behind it
book own below=no_price for site
book list for everyone
price own A 9 min=10
price list A 11
? site 9 A -> BELOW_MINIMUM 10
? site 10 A -> 9 by own
? lone 9 A -> 11 by list

# no_price: a book later in order is only left out
book own for site
book list below=no_price for everyone
price own A 11
price list A 9 min=10
? site 9 A -> 11 by own

# no_price ends the line before the next layer is searched
layer contract 1
layer list 2
book own layer=contract below=no_price for site
book list layer=list for everyone
price own A 9 min=10
price list A 11
? site 9 A -> BELOW_MINIMUM 10

# no_price in lowest: first in order, it ends the line; otherwise it is left out
layer prices 1 lowest
book own below=no_price for site
book list for everyone
book parents for company
price own A 9 min=10
price list A 11
? site 9 A -> BELOW_MINIMUM 10
? company 9 A -> 11 by list

# no_price in lowest of a book behind the first: left out
layer prices 1 lowest
book own for site
book list below=no_price for everyone
price own A 11
price list A 9 min=10
? site 9 A -> 11 by own
? site 10 A -> 9 by list

# no_price in newest: the newest is first in order
layer prices 1 newest
book own for site
book list below=no_price for everyone
price own A 11 from=2023-01-01
price list A 9 min=10 from=2024-01-01
? site 9 A -> BELOW_MINIMUM 10
? site 9 A at 2023-06-01 -> 11 by own

# no_price in highest of a later book: left out
layer prices 1 highest
book own for site
book list below=no_price for everyone
price own A 9
price list A 11 min=10
? site 9 A -> 9 by own
? site 10 A -> 11 by list

# first_break in lowest and highest: its first price competes
layer prices 1 lowest
book own for site
book list below=first_break for everyone
price own A 11
price list A 9 min=10
? site 1 A -> 9 by list

# merge: a first_break price stands below every real break
layer prices 1 first merge
book own below=first_break for site
book list for everyone
price own A 9 min=10
price list A 11
? site 1 A -> 11 by list
? site 10 A -> 9 by own
"""


@pytest.mark.parametrize("case", cases(SPECIFICITY + UNITS + BREAKS + BELOW), ids=str)
def test_which_entry_answers(case: Case) -> None:
    check(case)
