"""A run's figures, its tables for the terminal, and its one self-contained page.

Everything comes from the run's folder. Importing this package is light; drawing brings matplotlib in.
"""

from unbraid.report.page import write_report
from unbraid.report.published import PUBLISHED_GRADIENT_STEPS, PublishedTable, published_tables
from unbraid.report.tables import format_tables, print_results

__all__ = [
    "PUBLISHED_GRADIENT_STEPS",
    "PublishedTable",
    "format_tables",
    "print_results",
    "published_tables",
    "write_report",
]
