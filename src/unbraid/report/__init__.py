"""A run's figures and its one self-contained page."""
