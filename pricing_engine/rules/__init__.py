"""The price rules in plain Python and exact fractions, one line at a time: what every kernel must equal."""
