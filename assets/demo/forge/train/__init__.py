"""Trains the networks of the demo pack. Each script is one command and goes on where it was stopped."""
