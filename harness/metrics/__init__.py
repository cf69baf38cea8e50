"""Metrics: one file a family, which computes several numbers from one shared pass.

Contract: called as `(embeddings [N, D], labels int64 [N], seed) -> Measured`. Class attribute `names`: the metrics the
family gives. Exact, deterministic for a seed, on the embeddings' device; nan or infinite embeddings are refused.
"""
