"""When a price holds: dates in a zone, clock changes, the past and the future, `valid_until` (P10)."""

import pytest

from tests.price_tables import Case, cases, check

WINDOWS = """
# an end date is inclusive: the price holds until that day is over
book own for site
price own A 10 from=2024-06-01 to=2024-06-30
? site 1 A at 2024-05-31T23:59:59.999999Z -> NO_PRICE until=2024-06-01
? site 1 A at 2024-06-01 -> 10 by own until=2024-07-01
? site 1 A at 2024-06-30T23:59:59.999999Z -> 10 by own until=2024-07-01
? site 1 A at 2024-07-01 -> NO_PRICE until=never

# a window of one day
book own for site
price own A 10 from=2024-06-15 to=2024-06-15
? site 1 A at 2024-06-14T23:59:59.999999Z -> NO_PRICE until=2024-06-15
? site 1 A -> 10 by own until=2024-06-16

# entry, book and agreement must all be valid
book own from=2024-02-01 to=2024-10-31 for site from=2024-03-01 to=2024-09-30
price own A 10 from=2024-04-01 to=2024-08-31
? site 1 A at 2024-03-31 -> NO_PRICE until=2024-04-01
? site 1 A at 2024-04-01 -> 10 by own until=2024-09-01
? site 1 A at 2024-09-01 -> NO_PRICE until=never

# the book's window alone
book own from=2024-02-01 to=2024-02-29 for site
price own A 10
? site 1 A at 2024-01-31 -> NO_PRICE until=2024-02-01
? site 1 A at 2024-02-29T23:59:59Z -> 10 by own until=2024-03-01
? site 1 A at 2024-03-01 -> NO_PRICE

# the agreement's window alone
book own for site from=2024-02-01 to=2024-02-29
price own A 10
? site 1 A at 2024-01-31 -> NO_PRICE until=2024-02-01
? site 1 A at 2024-02-29T23:59:59Z -> 10 by own until=2024-03-01
? site 1 A at 2024-03-01 -> NO_PRICE

# a credit memo asks about the past, a quote about the future
book own for site
price own A 10 to=2023-12-31
price own A 11 from=2024-01-01 to=2024-12-31
price own A 12 from=2025-01-01
? site 1 A at 1985-01-01 -> 10 by own until=2024-01-01
? site -1 A at 2023-06-01 -> 10 by own total=-10
? site 1 A at 2024-06-01 -> 11 by own until=2025-01-01
? site 1 A at 2100-01-01 -> 12 by own until=never

# before 1970, too
book own for site
price own A 10 from=1969-12-31 to=1969-12-31
? site 1 A at 1969-12-30T23:59:59.999999Z -> NO_PRICE
? site 1 A at 1969-12-31T23:59:59.999999Z -> 10 by own until=1970-01-01

# leap day is a day of its own
book own for site
price own A 10 from=2024-02-29 to=2024-02-29
price own A 20 from=2024-03-01
? site 1 A at 2024-02-28T23:59:59.999999Z -> NO_PRICE
? site 1 A at 2024-02-29 -> 10 by own until=2024-03-01
? site 1 A at 2024-03-01 -> 20 by own

# an end on the 28th ends before leap day in a leap year, and at March otherwise
book own for site
price own A 10 to=2023-02-28
price own A 20 from=2024-01-01 to=2024-02-28
? site 1 A at 2023-02-28T23:59:59Z -> 10 by own until=2023-03-01
? site 1 A at 2024-02-28T23:59:59Z -> 20 by own until=2024-02-29
"""

ZONES = """
# a day of 23 hours: London, 31 March 2024
zone Europe/London
book own for site
price own A 10 from=2024-03-31 to=2024-03-31
? site 1 A at 2024-03-30T23:59:59.999999Z -> NO_PRICE
? site 1 A at 2024-03-31T00:00:00Z -> 10 by own until=2024-03-31T23:00:00Z
? site 1 A at 2024-03-31T22:59:59.999999Z -> 10 by own
? site 1 A at 2024-03-31T23:00:00Z -> NO_PRICE

# a day of 25 hours: London, 27 October 2024
zone Europe/London
book own for site
price own A 10 from=2024-10-27 to=2024-10-27
? site 1 A at 2024-10-26T22:59:59.999999Z -> NO_PRICE
? site 1 A at 2024-10-26T23:00:00Z -> 10 by own until=2024-10-28
? site 1 A at 2024-10-27T23:59:59.999999Z -> 10 by own
? site 1 A at 2024-10-28T00:00:00Z -> NO_PRICE

# a midnight that does not exist: the day begins at one o'clock (Sao Paulo, 4 November 2018)
zone America/Sao_Paulo
book own for site
price own A 10 to=2018-11-03
price own A 11 from=2018-11-04 to=2018-11-04
? site 1 A at 2018-11-04T02:59:59.999999Z -> 10 by own until=2018-11-04T03:00:00Z
? site 1 A at 2018-11-04T03:00:00Z -> 11 by own until=2018-11-05T02:00:00Z
? site 1 A at 2018-11-05T02:00:00Z -> NO_PRICE

# the hour before midnight twice: that day has 25 hours (Sao Paulo, 17 February 2018)
zone America/Sao_Paulo
book own for site
price own A 10 from=2018-02-17 to=2018-02-17
? site 1 A at 2018-02-17T01:59:59.999999Z -> NO_PRICE
? site 1 A at 2018-02-17T02:00:00Z -> 10 by own until=2018-02-18T03:00:00Z
? site 1 A at 2018-02-18T02:59:59.999999Z -> 10 by own

# midnight twice: the day begins at the first (Havana, 3 November 2024)
zone America/Havana
book own for site
price own A 10 from=2024-11-03 to=2024-11-03
? site 1 A at 2024-11-03T03:59:59.999999Z -> NO_PRICE
? site 1 A at 2024-11-03T04:00:00Z -> 10 by own until=2024-11-04T05:00:00Z
? site 1 A at 2024-11-04T05:00:00Z -> NO_PRICE

# a day that does not exist begins and ends with the next one (Apia, 30 December 2011)
zone Pacific/Apia
book own for site
price own A 10 to=2011-12-29
price own A 11 from=2011-12-31
? site 1 A at 2011-12-30T09:59:59.999999Z -> 10 by own until=2011-12-30T10:00:00Z
? site 1 A at 2011-12-30T10:00:00Z -> 11 by own

# a zone of half hours
zone Asia/Kolkata
book own for site
price own A 10 from=2024-06-15
? site 1 A at 2024-06-14T18:29:59.999999Z -> NO_PRICE until=2024-06-14T18:30:00Z
? site 1 A at 2024-06-14T18:30:00Z -> 10 by own

# one zone for all books, agreements, costs and rates
zone Asia/Kolkata
customer dollars USD
book own from=2024-06-15 for dollars from=2024-06-15
cost A 8 EUR from=2024-06-15
rate EUR USD 1.25 from=2024-06-15
price own A markup=0
? dollars 1 A at 2024-06-14T18:29:59.999999Z -> NO_PRICE until=2024-06-14T18:30:00Z
? dollars 1 A at 2024-06-14T18:30:00Z -> 10 by own converted
"""

UNTIL = """
# a price without an end has no known end
book own for site
price own A 10
? site 1 A -> 10 by own until=never

# a better-ranked agreement that begins later ends the answer
book own for site from=2024-08-01
book list for everyone
price own A 10
price list A 20
? site 1 A -> 20 by list until=2024-08-01
? lone 1 A -> 20 by list until=never

# a worse-ranked one does not
book own for site
book list for everyone from=2024-08-01
price own A 10
price list A 9
? site 1 A -> 10 by own until=never

# in lowest a cheaper one does, a dearer one does not
layer prices 1 lowest
book own for site
book dear for everyone from=2024-07-01
book cheap for everyone from=2024-08-01
price own A 10
price dear A 11
price cheap A 9
? site 1 A -> 10 by own until=2024-08-01

# a renewed agreement changes nothing
book own for site to=2024-06-30
agree own for site from=2024-07-01 to=2024-12-31
price own A 10
? site 1 A -> 10 by own until=2025-01-01

# an agreement that gives way to the parent's for the same book changes nothing
book own for site to=2024-06-30
agree own for company
price own A 10
? site 1 A -> 10 by own until=never

# a renewal by another entry at the same price is another entry
book own for site
price own A 10 to=2024-06-30 id=old
price own A 10 from=2024-07-01 id=new
? site 1 A -> 10 by own entry=old until=2024-07-01
? site 1 A at 2024-07-01 -> 10 by own entry=new until=never

# a break above the quantity changes nothing, one that comes to be reached does
book own for site
price own A 10 from=2024-01-01
price own A 9 min=10 from=2024-01-01
price own A 8 min=100 from=2024-08-01
? site 50 A -> 9 by own until=never
? site 100 A -> 9 by own until=2024-08-01

# a cost that moves less than the rounding changes nothing
book own round=1/half_up for site
cost A 8 EUR
cost A 8.1 EUR from=2024-07-01
cost A 9 EUR from=2024-08-01
price own A markup=25
? site 1 A -> 10 by own until=2024-08-01

# the end of a basis entry ends the price
book list
book own for site
price list A 10 to=2024-07-31
price list A 12 from=2024-09-01
price own A discount=10 of=list
? site 1 A -> 9 by own until=2024-08-01
? site 1 A at 2024-08-01 -> NO_PRICE MISSING_INPUT until=2024-09-01

# a rate that begins ends a converted answer, and not one in the asked currency
book own for site
rate EUR USD 1.25
rate EUR USD 1.3 from=2024-07-01
price own A 10
? site 1 A in USD -> 12.5 by own converted until=2024-07-01
? site 1 A -> 10 by own until=never
"""


@pytest.mark.parametrize("case", cases(WINDOWS + ZONES + UNTIL), ids=str)
def test_when_a_price_holds(case: Case) -> None:
    check(case)
