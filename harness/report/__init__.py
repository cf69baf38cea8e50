"""The report: frames become tables, figures and one page. Opens no run folder, imports no torch."""
