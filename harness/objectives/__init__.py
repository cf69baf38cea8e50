"""Objectives: one file each.

Contract: a `torch.nn.Module` called as `(embeddings [B, D], labels int64 [B], tuples: Triplets | None) -> scalar loss`.
Class attributes: `takes`, "triplets" (a miner is needed), "batch" (none is of use) or "either"; `normalize`, whether it
wants unit-norm embeddings in training and evaluation; `proxy_table`, the name of its table of class representatives
("proxies" or "centers"), or None; `revision`. `lr_multipliers` maps the names of its own parameters to multiples of the
network's learning rate.
Vectorized: no Python loop over samples, no device sync. No active tuple gives a loss of 0 with a gradient of 0.
Half precision is computed in float32, float64 in float64. Unless its docstring says so, an objective does not normalize
the embeddings: that is the network's part when `normalize` is True.
The constructor may take `num_classes` and `embedding_dim` before the `*`; what stands after it a study may set.
`as_published=True` gives the form that the published code computes, where that differs and shaped published numbers.
Optional: `epoch_numbers() -> dict[str, float]`, called after each epoch, whose numbers become curves of the split
"train".
"""
