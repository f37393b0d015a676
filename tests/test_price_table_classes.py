"""Several price classes a customer, and classes that are an ancestor's (P18)."""

import pytest

from tests.price_tables import Case, cases, check

CLASSES = """
# the book of any of its classes is a customer's, those of the class with the lower priority first
class lone trade priority=2
class lone roofer priority=1
book trades for class:trade
price trades A 90
price trades A 70 min=100
book roofers for class:roofer
price roofers A 95
? lone 1 A -> 95 by roofers
? lone 100 A -> 95 by roofers
? everyone 1 A in EUR -> NO_PRICE

# a blank priority is the last; classes stand before everyone
class lone trade
class lone roofer priority=9
book trades for class:trade
price trades A 90
book all for everyone
price all A 10
? lone 1 A -> 90 by trades

# classes of equal priority are equally near: the agreement's priority decides
class lone roofer priority=1
class lone trade priority=1
book roofers for class:roofer priority=2
price roofers A 95
book trades for class:trade priority=1
price trades A 90
? lone 1 A -> 90 by trades

# the class in the customer's own row is the first, unless a row of the table gives it a priority
customer old EUR class=trade
class old roofer priority=-5
customer new EUR class=trade
class new roofer priority=1
class new trade priority=2
book trades for class:trade
price trades A 90
book roofers for class:roofer
price roofers A 95
? old 1 A -> 90 by trades
? new 1 A -> 95 by roofers

# who has no class has those of the nearest ancestor that has any, the priorities with them
customer top EUR class=trade
customer middle EUR parent=top
class middle roofer priority=2
class middle gold priority=1
customer low EUR parent=middle
customer lowest EUR parent=low
customer other EUR parent=lowest class=trade
book trades for class:trade
price trades A 90
book roofers for class:roofer
price roofers A 95
book golds for class:gold
price golds A 80
? top 1 A -> 90 by trades
? middle 1 A -> 80 by golds
? lowest 1 A -> 80 by golds
? other 1 A -> 90 by trades

# inside a book the entry of the first class that has one answers, before the one for all; in every mode
layer best 1 lowest
class lone roofer priority=1
class lone trade priority=2
book list layer=best for everyone
price list A 100
price list A 99 class=roofer
price list A 50 class=trade
price list drills 1 class=trade
book other layer=best for everyone
price other B 100
price other B 40 class=trade
item B
customer none EUR
? lone 1 A -> 99 by list
? lone 1 B -> 40 by other
? none 1 A -> 100 by list

# a class' entry for a branch stands before its entry for all, and that before the next class'
class site roofer priority=1
class site gold priority=2
book list for everyone
price list A 100
price list A 70 class=gold branch=north
price list A 95 class=roofer
price list A 94 class=roofer branch=north
price list A 80 class=gold
? site 1 A -> 94 by list
? site 1 A from south -> 95 by list

# what is computed for one class alone is found among others
class lone trade priority=1
class lone roofer priority=2
class alone roofer
customer alone EUR
book list
price list A 100
book rules for everyone
price rules * discount=10 of=list class=roofer
? lone 1 A -> 90 by rules
? alone 1 A -> 90 by rules

# entitlements: the first class that says anything decides, after the customer and its ancestors
class lone trade priority=1
class lone roofer priority=2
class other roofer priority=1
class other trade priority=2
customer other EUR
forbid class:trade A
allow class:roofer A
book all for everyone
price all A 10
? lone 1 A -> NOT_ENTITLED
? other 1 A -> 10 by all
"""

PUBLISHED = """
# Medusa: a shopper in two customer groups has the lower of their price lists
layer lists 1 lowest
class lone vip
class lone wholesale
book VIP layer=lists for class:vip
price VIP A 80
book WHOLESALE layer=lists for class:wholesale
price WHOLESALE A 75
price WHOLESALE A 85 min=5
? lone 1 A -> 75 by WHOLESALE
? lone 5 A -> 80 by VIP

# Odoo: the first in sequence of the pricelists of several groups; a contact without any has its parent's (odoo#221577)
customer partner EUR
class partner silver priority=20
class partner gold priority=10
customer contact EUR parent=partner
book GOLD for class:gold
price GOLD A 85
book SILVER for class:silver
price SILVER A 80
? partner 1 A -> 85 by GOLD
? contact 1 A -> 85 by GOLD
"""


@pytest.mark.parametrize("case", cases(CLASSES) + cases(PUBLISHED), ids=str)
def test_classes_of_a_customer(case: Case) -> None:
    check(case)
