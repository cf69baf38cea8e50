"""Batch samplers: one file each.

Contract: constructor `(labels int64 [N] of the training set, batch_size, *, options)`; `epoch(generator,
embeddings=None)` gives all batches of one epoch as int64 [steps, batch_size] positions into `labels`, with steps =
floor(N / batch_size). Class attribute `needs_embeddings`: whether `epoch` wants the current training embeddings [N,
D]. Impossible combinations of options, batch size and labels raise StudyError or DataError with what would be right.
Optional: `epoch_numbers() -> dict[str, float]`, called after each epoch, whose numbers become curves of the split
"train".
"""
