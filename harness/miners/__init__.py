"""Miners: one file each.

Contract: called as `(embeddings [B, D], labels int64 [B], generator) -> Triplets`, on the embeddings' device,
vectorized, without gradient, without a device sync that could be avoided. Chance comes from the generator alone.
Optional: `epoch_numbers() -> dict[str, float]`, called after each epoch, whose numbers become curves of the split
"train".
"""
