"""The use cases as families: which GBCS use case a request becomes, and the values it carries.

One module per chapter of the transform reference (part B); each lists its ``Rule`` rows and the small functions that
fill them in. Fixed and parametric reads are data (``reads.toml``). Every item of a payload has a ``Term``: what a
supplier calls it, so that a difference can be told in words.
"""
