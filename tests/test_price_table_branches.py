"""Prices of branches, and their place in the order of a book's entries (P17)."""

import pytest

from tests.price_tables import Case, cases, check

BRANCHES = """
# the request's branch, else the customer's
book list for everyone
price list A 100
price list A 95 branch=north
price list A 90 branch=south
? site 1 A -> 95 by list
? site 1 A from south -> 90 by list
? lone 1 A -> 100 by list
? lone 1 A from north -> 95 by list
? everyone 1 A in EUR from north -> 95 by list

# a branch that is asked for and has no price of its own gets the one for all, not that of the customer's
book list for everyone
price list A 100
price list A 95 branch=north
? site 1 A from south -> 100 by list
? site 1 A from nowhere -> 100 by list

# without one for all, other branches have none
book list for everyone
price list A 95 branch=north
? site 1 A -> 95 by list
? lone 1 A -> NO_PRICE
? site 1 A from south -> NO_PRICE

# class before branch, branch before none, and both before either
book list for everyone
price list A 100
price list A 90 class=gold
price list A 80 branch=north
price list B 100
price list B 90 class=gold
price list B 80 branch=north
price list B 85 class=gold branch=north
item B
? site 1 A -> 90 by list
? lone 1 A from north -> 80 by list
? site 1 B -> 85 by list
? site 1 B from south -> 90 by list
? lone 1 B from north -> 80 by list

# the item goes before its group, whatever the branch
book list for everyone
price list A 100
price list metal 50 branch=north
? site 1 A -> 100 by list

# only the most specific level competes, in lowest too
layer low 1 lowest
book list layer=low for everyone
price list A 90
price list A 95 branch=north
? site 1 A -> 95 by list
? lone 1 A -> 90 by list

# the branch goes before the unit form
book list for everyone
price list A 100 uom=BOX
price list A 9 branch=north
? site 1 BOX A -> 108 by list
? lone 1 BOX A -> 100 by list

# below the first break of the branch's price the one for all is asked
book list for everyone
price list A 100
price list A 95 branch=north min=10
? site 9 A -> 100 by list
? site 10 A -> 95 by list

# unless the book says otherwise
book list below=no_price for everyone
price list A 100
price list A 95 branch=north min=10
? site 9 A -> BELOW_MINIMUM 10
? lone 9 A -> 100 by list

# dates of the branch's price are its own
book list for everyone
price list A 100
price list A 95 branch=north to=2024-06-30
? site 1 A -> 95 by list until=2024-07-01
? site 1 A at 2024-07-01 -> 100 by list until=never

# a basis has its branch's price as well
book list
book own for site
price list A 100
price list A 80 branch=north
price own A discount=25 of=list
? site 1 A -> 60 by own
? site 1 A from south -> 75 by own

# among books of one distance the narrower entry ranks first
book a for site
book b for site
price a A 100
price b A 90 branch=north
? site 1 A -> 90 by b
? site 1 A from south -> 100 by a

# a book of a class that computes from a net price, with and without a branch
book list for everyone
book deal for class:gold
price list A 100
price deal A discount=10 of=list class=gold
price deal A discount=20 of=list class=gold branch=south
? site 1 A -> 90 by deal
? site 1 A from south -> 80 by deal
"""


@pytest.mark.parametrize("case", cases(BRANCHES), ids=str)
def test_a_branch_has_its_own_price(case: Case) -> None:
    check(case)
