"""Regularizers: one file each.

Contract: an `nn.Module` with two hooks. `on_tuples(tuples, labels, generator) -> tuples` changes what the miner found;
`on_loss(loss, embeddings, labels, objective) -> loss` adds a term. Class attribute `needs`: a subset of
{"tuples", "proxies"}; a study that combines it with an objective that lacks one of them is refused.
Optional: `epoch_numbers() -> dict[str, float]`, called after each epoch, whose numbers become curves of the split
"train".
"""
