"""Backbones: one file each.

Contract: an `nn.Module` called as `(images [B, C, H, W] float in [0, 1]) -> pooled features [B, F]`; it normalizes the
images by its own convention and turns one channel into three where it needs them. Attribute `features` = F.
A class method `completed(options, data_root) -> options`, where there is one, writes into the options what decides
numbers but lies in the data folder (the digest of a file of weights); it is called when a study is read.
Every backbone has, beside its own, the options of `registry.EmbeddingOptions`: the embedding layer is the harness's.
"""
