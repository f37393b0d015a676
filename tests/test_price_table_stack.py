"""Whose price it is: the customer's stack, layers, the order of candidates, currencies (P1-P3)."""

import pytest

from tests.price_tables import Case, cases, check

STACK = """
# the customer's own contract answers before its parent's, whatever is cheaper
book own for site
book parents for company
book grandparents for group
book golds for class:gold
book list for everyone
price own A 10
price parents A 9
price grandparents A 8
price golds A 7
price list A 6
? site 1 A -> 10 by own
? company 1 A -> 9 by parents
? group 1 A -> 8 by grandparents
? lone 1 A -> 6 by list

# the parent's contract answers before the grandparent's
book parents for company
book grandparents for group
price parents A 9
price grandparents A 8
? site 1 A -> 9 by parents

# a grandparent's contract answers before the customer's class
book grandparents for group
book golds for class:gold
price grandparents A 8
price golds A 7
? site 1 A -> 8 by grandparents
? company 1 A -> 8 by grandparents

# the class's book answers before everyone's, and only for that class
book golds for class:gold
book list for everyone
price golds A 7
price list A 6
? site 1 A -> 7 by golds
? company 1 A -> 6 by list
? everyone 1 A in EUR -> 6 by list

# an agreement that is not inherited stays with its owner
book parents for company inherit=false
book list for everyone
price parents A 9
price list A 20
? company 1 A -> 9 by parents
? site 1 A -> 20 by list

# inherit=false of the parent does not hide the grandparent
book parents for company inherit=false
book grandparents for group
price parents A 9
price grandparents A 8
? site 1 A -> 8 by grandparents

# nobody's price is no price
book own for lone
price own A 10
? site 1 A -> NO_PRICE

# a book reached by two agreements stands where the nearer one puts it
book shared for site priority=9
agree shared for everyone priority=1
book parents for company priority=1
price shared A 10
price parents A 9
? site 1 A -> 10 by shared
? company 1 A -> 9 by parents
"""

LAYERS = """
# the layer of lower rank answers, even for a customer's own contract in a later one
layer promotion 1
layer contract 2
book promo layer=promotion for everyone
book own layer=contract for site
price promo A 12
price own A 10
? site 1 A -> 12 by promo layer=promotion

# a layer without a price for the item leaves it to the next
layer promotion 10
layer contract 20
item B
book promo layer=promotion for everyone
book own layer=contract for site
price promo B 12
price own A 10
? site 1 A -> 10 by own layer=contract
? lone 1 A -> NO_PRICE

# ranks are numbers: 9 before 10, and negative ranks first
layer ten 10
layer nine 9
layer minus -1
item B
book tens layer=ten for everyone
book nines layer=nine for everyone
book minuses layer=minus for site
price tens A 1
price nines A 2
price minuses A 3
price tens B 4
? lone 1 A -> 2 by nines
? site 1 A -> 3 by minuses
? site 1 B -> 4 by tens

# lowest: the cheapest book of the layer answers, however far up it stands
layer prices 1 lowest
book own for site
book list for everyone
price own A 10
price list A 9.5
? site 1 A -> 9.5 by list

# highest: the dearest book of the layer answers
layer prices 1 highest
book own for site
book list for everyone
price own A 10
price list A 10.5
? site 1 A -> 10.5 by list

# equal prices in lowest: the order of first decides
layer prices 1 lowest
book zz for site
book aa for everyone
price zz A 10
price aa A 10
? site 1 A -> 10 by zz
? lone 1 A -> 10 by aa

# lowest compares what the customer would pay, before rounding
layer prices 1 lowest
book near round=1/half_up for site
book far round=0.01/half_up for everyone
price near A 10.4
price far A 10.3
? site 1 A -> 10.3 by far
? site 0 A -> INVALID_QUANTITY

# newest: the latest start answers, the later of the entry's and the book's; blank is oldest
layer prices 1 newest
book own for site
book entrydated for everyone
book bookdated from=2024-02-01 for everyone
price own A 10
price entrydated A 11 from=2024-01-01
price bookdated A 12 from=2023-01-01
? site 1 A at 2024-03-01 -> 12 by bookdated
? site 1 A at 2024-01-15 -> 11 by entrydated
? site 1 A at 2023-12-31 -> 10 by own

# equal starts in newest: the order of first decides
layer prices 1 newest
book zz for site
book aa for everyone
price zz A 10 from=2024-01-01
price aa A 9 from=2024-01-01
? site 1 A -> 10 by zz

# a contract price may be above the list price
layer contract 1
layer list 2
book own layer=contract for site
book list layer=list for everyone
price own A 120
price list A 100
? site 1 A -> 120 by own
"""

ORDER = """
# at one distance the lower priority number answers
book aa for site priority=2
book bb for site priority=1
price aa A 10
price bb A 11
? site 1 A -> 11 by bb

# a blank priority is last, after any number
book aa for site
book bb for site priority=99999
price aa A 10
price bb A 11
? site 1 A -> 11 by bb

# priorities may be negative
book aa for site priority=0
book bb for site priority=-1
price aa A 10
price bb A 11
? site 1 A -> 11 by bb

# distance beats priority
book own for site
book parents for company priority=1
price own A 10
price parents A 9
? site 1 A -> 10 by own

# priority beats specificity
book exact for site priority=2
book rule for site priority=1
price exact A 10
price rule * 11
? site 1 A -> 11 by rule

# at one distance and priority the more specific entry answers
book aa for site
book bb for site
price aa metal 10
price bb A 11
? site 1 A -> 11 by bb

# then a row for the class before a row for all
book aa for site
book bb for site
price aa A 10
price bb A 11 class=gold
? site 1 A -> 11 by bb

# then the asked unit before the base unit
book aa for site
book bb for site
price aa A 10
price bb A 130 uom=BOX
? site 1 BOX A -> 130 by bb
? site 1 A -> 10 by aa

# then the newest
book aa for site
book bb for site
price aa A 10
price bb A 11 from=2024-01-01
? site 1 A -> 11 by bb

# item level outranks class, class outranks unit, unit outranks newest
book b1 for site
book b2 for site
price b1 metal 10 class=gold from=2024-01-01
price b2 A 11
? site 1 A -> 11 by b2

# all else equal, the lower book_id answers
book b2 for site
book b10 for site
price b2 A 10
price b10 A 11
? site 1 A -> 11 by b10
"""

CURRENCY = """
# a price in the asked currency answers before a nearer one that needs conversion
book euros for site
book dollars currency=USD for everyone
rate EUR USD 1.25
price euros A 10
price dollars A 20
? site 1 A in USD -> 20 by dollars
? site 1 A -> 10 by euros

# a converted price answers only where none of the layer is in the asked currency
book euros for site
rate EUR USD 1.25
price euros A 10
? site 1 A in USD -> 12.5 by euros converted

# a converted price of an earlier layer still answers before a later layer
layer contract 1
layer list 2
book euros layer=contract for site
book dollars layer=list currency=USD for everyone
rate EUR USD 1.25
price euros A 10
price dollars A 20
? site 1 A in USD -> 12.5 by euros converted

# in lowest, too, the asked currency comes first
layer prices 1 lowest
book euros for site
book dollars currency=USD for everyone
rate EUR USD 1.25
price euros A 10
price dollars A 20
? site 1 A in USD -> 20 by dollars

# lowest compares converted prices in the asked currency
layer prices 1 lowest
book euros for site
book yens currency=JPY for site
rate EUR USD 1.25
rate JPY USD 0.01
price euros A 10
price yens A 1000
? site 1 A in USD -> 10 by yens converted

# the direct rate wins over the opposite pair
book euros for site
rate EUR USD 1.25
rate USD EUR 0.5
price euros A 10
? site 1 A in USD -> 12.5 by euros converted

# the opposite pair is inverted exactly
book euros round=0.000001/down for site
rate USD EUR 3
price euros A 10
price euros * 3
item B
? site 1 A in USD -> 3.333333 by euros converted
? site 3 B in USD -> 1 by euros total=3 converted

# an inverted rate answers while the direct one has not begun
book euros for site
rate EUR USD 1.25 from=2024-07-01
rate USD EUR 0.5
price euros A 10
? site 1 A in USD -> 20 by euros converted until=2024-07-01
? site 1 A in USD at 2024-07-01 -> 12.5 by euros converted until=never

# the newest rate that has begun counts
book euros for site
rate EUR USD 1.1 from=2024-01-01
rate EUR USD 1.2 from=2024-06-01
rate EUR USD 1.3 from=2024-07-01
price euros A 10
? site 1 A in USD -> 12 by euros converted until=2024-07-01

# rates are never chained
book euros for site
rate EUR USD 1.25
rate USD JPY 100
price euros A 10
? site 1 A in JPY -> NO_PRICE MISSING_INPUT

# rounding and increments are the book's, in the asked currency, after conversion
book euros round=0.05/half_up for site
rate EUR USD 1.111111
price euros A 9.99
? site 1 A in USD -> 11.1 by euros converted

# a currency that no table names has no price
book euros for site
price euros A 10
? site 1 A in CHF -> NO_PRICE MISSING_INPUT
"""


@pytest.mark.parametrize("case", cases(STACK + LAYERS + ORDER + CURRENCY), ids=str)
def test_whose_price_answers(case: Case) -> None:
    check(case)
