"""The forge: draws invented people and trains the networks of the demo pack on them.

A developer's tool; nothing of it is needed to build or to run photog. See ../README.md.
"""
