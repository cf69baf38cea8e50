"""Figures of more than one panel: frame -> matplotlib Figure. They save nothing."""
