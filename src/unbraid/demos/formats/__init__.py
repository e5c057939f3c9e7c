"""Readers and writers of files that others made: one module a format."""
