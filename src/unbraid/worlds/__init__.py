"""Environments that ship with the package, and the experts that act in them."""
