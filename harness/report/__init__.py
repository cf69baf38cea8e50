"""The report: frames become tables, figures and one page. Opens no run folder, imports no torch."""

from harness.report.document import report_json, write_report

__all__ = ["report_json", "write_report"]
