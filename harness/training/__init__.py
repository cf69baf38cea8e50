"""Training: a pure function of (spec, data). Knows nothing of databases, back-ends or other runs."""
