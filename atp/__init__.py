"""Available-to-promise: NumPy arrays in, NumPy arrays out; no I/O, no wall clock.

Read in this order: `model` (words and policies), `rules.rows` and `rules.reference` (one pair at a time),
`rules.sourcing` and `rules.promising` (the network promise), then the fast form: `arrays`, `kernels`, `engine`.
"""
