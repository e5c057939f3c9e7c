"""Towards a mode: from a model to a policy that a person steers."""
