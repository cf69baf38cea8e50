"""Backbones: one file each.

Contract: an `nn.Module` called as `(images [B, C, H, W] float in [0, 1]) -> pooled features [B, F]`; it normalizes the
images by its own convention and turns one channel into three where it needs them. Attribute `features` = F.
The option `embedding_dim` belongs to every backbone: the linear embedding layer behind the features is the harness's.
"""
