"""The Gaussian policy pi(a | s, context), and the one definition of a context."""
