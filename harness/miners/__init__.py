"""Miners: one file each.

Contract: called as `(embeddings [B, D], labels int64 [B], generator) -> Triplets`, on the embeddings' device,
vectorized, without gradient, without a device sync that could be avoided. Chance comes from the generator alone.
A miner with the class attribute `plans` makes the batches, too: see `_planned`.
Optional: `epoch_numbers() -> dict[str, float]`, called after each epoch, whose numbers become curves of the split
"train".
"""
