"""A made-up marketplace: seeded, of any size, drawn without a network, and as messy as a real one.

`listings` makes up the products, `drawing` paints one photo, `defects` spoils some of the photos and rows, and `dump`
puts them together.
"""
