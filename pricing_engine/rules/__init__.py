"""The price rules in Python and exact fractions, one line at a time: the reference of every kernel."""
