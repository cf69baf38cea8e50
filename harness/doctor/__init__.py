"""What on this machine would stop or slow a study, found before the study starts: `harness doctor`.

Contract: a check is a function `(where: Where) -> Verdict` and one line of `doctor.checks.CHECKS`. It changes nothing
but a file of its own that it removes again. What it raises, and that it takes too long, becomes a problem that is told
in its line, so a check needs no care of that kind.
"""
