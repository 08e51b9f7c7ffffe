"""Trains the declared models and exports their artifacts. Nothing in service/ imports this."""
