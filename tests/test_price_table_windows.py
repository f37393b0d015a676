"""Windows of a book that overlap, and levels that compete whatever their unit form (P4, P6)."""

import pytest

from tests.price_tables import Case, cases, check

WINDOWS = """
# at each break the newest window that has it answers, its other breaks stay with the older ones
book list for everyone
price list A 10 min=1
price list A 7 min=10
price list A 8 min=5 from=2024-06-01 to=2024-06-30
? site 1 A -> 10 by list
? site 4.999999 A -> 10 by list
? site 5 A -> 8 by list until=2024-07-01
? site 10 A -> 7 by list
? site 100 A at 2024-07-01 -> 7 by list
? site 5 A at 2024-07-01 -> 10 by list

# with `replace` the newest window answers alone, and below its first break the next newest
book list windows=replace for everyone
price list A 10 min=1
price list A 7 min=10
price list A 8 min=5 from=2024-06-01 to=2024-06-30
? site 1 A -> 10 by list
? site 5 A -> 8 by list
? site 10 A -> 8 by list until=2024-07-01
? site 10 A at 2024-07-01 -> 7 by list

# at an equal break the newest window answers
book list for everyone
price list A 10 min=10
price list A 11 min=10 from=2024-01-01
price list A 12 min=10 from=2024-06-16
? site 10 A -> 11 by list until=2024-06-16
? site 10 A at 2024-06-16 -> 12 by list

# in lowest and highest every window answers by its own ladder
layer prices 1 lowest
book list windows=replace for everyone
price list A 10 min=1
price list A 7 min=10
price list A 8 min=5 from=2024-06-01
? site 5 A -> 8 by list
? site 10 A -> 7 by list

# in highest too: an older window's lower break competes, one behind a higher break of the same window doesn't
layer prices 1 highest
book list for everyone
price list A 10 min=1
price list A 7 min=10
price list A 8 min=5 from=2024-06-01
? site 5 A -> 10 by list
? site 10 A -> 8 by list

# a book of equal rank with a higher break does not take over from the newest window reached
book one for everyone
book two for everyone
price one A 10 min=1
price one A 7 min=10
price one A 8 min=5 from=2024-06-01
price two A 9 from=2024-01-01
? site 1 A -> 9 by two
? site 5 A -> 8 by one
? site 10 A -> 7 by one

# in merge each break is ranked by itself
layer prices 1 first merge
book one for everyone
book two for everyone
price one A 10 min=1
price one A 7 min=10
price one A 8 min=5 from=2024-06-01
price two A 9 min=10 from=2024-01-01
? site 5 A -> 8 by one
? site 10 A -> 9 by two

# an item's own row in another unit form stands against a group's, in lowest too
layer prices 1 lowest
book list for everyone
price list A 30 uom=BOX
price list metal 2
? site 1 BOX A -> 30 by list
? site 1 A -> 2 by list

# a class's row in another unit form stands against one for all
layer prices 1 lowest
book list for everyone
price list A 30 uom=BOX class=gold
price list A 2
? site 1 BOX A -> 30 by list
? lone 1 BOX A -> 24 by list

# a row for a unit that isn't asked is no level
layer prices 1 lowest
book list for everyone
price list A 1 uom=THIRD
price list metal 2
? site 1 BOX A -> 24 by list
"""


@pytest.mark.parametrize("case", cases(WINDOWS), ids=str)
def test_which_window_answers(case: Case) -> None:
    check(case)
