"""Available-to-promise: NumPy arrays in, NumPy arrays out; no I/O, no wall clock.

Read in this order: `model` (words and policies), `rows` and `reference` (the rules, one pair at a time),
`sourcing` and `promising` (the network promise), then the fast form: `positions`, `days`, `kernel`, `engine`.
"""
