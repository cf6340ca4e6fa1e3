"""A marketplace drawn on the spot: seeded, of any size, without a network, and as dirty as a real one.

`listings` makes up the tables and the plan of every photo, `drawing` paints one photo, `defects` spoils some of them,
`dump` puts them together.
"""
