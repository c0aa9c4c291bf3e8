"""Measures the networks of the demo pack on people that training never saw."""
