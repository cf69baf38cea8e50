"""Metrics: one file a family, which computes several numbers from one shared pass.

Contract: called as `(embeddings [N, D], labels int64 [N], seed) -> Measured` (`harness.measured`). Attribute `names`:
the metrics the family gives, on the class or, where options decide, on the instance; `definitions`: each name it can
give -> "formula; source", where `<k>` in a name stands for a number; `revision` numbers these definitions.
Exact, deterministic for a seed, on the embeddings' device; nan or infinite embeddings are refused (`measured.checked`).
Where the test images are queries and a gallery (In-Shop), a family measures all of them together, except one that has
the method `between(queries, query_labels, gallery, gallery_labels) -> Measured`: retrieval.
"""
