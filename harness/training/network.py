"""The network every method shares: backbone, linear embedding layer, unit norm where the objective wants it."""

from __future__ import annotations

from torch import Tensor, nn

from harness.geometry import normalized


class EmbeddingNetwork(nn.Module):
    """Images [B, C, H, W] in [0, 1] -> embeddings [B, D]; the same normalization in training and in evaluation.

    With `layer_norm`, each image's features are normalized to mean 0 and variance 1 before the embedding layer, without
    weight or bias, as in the code of ProxyNCA++ (Teh et al., 2020).
    """

    def __init__(self, backbone: nn.Module, embedding_dim: int, normalize: bool, layer_norm: bool = False) -> None:
        super().__init__()
        features = backbone.features
        assert isinstance(features, int)
        self.backbone = backbone
        self.norm = nn.LayerNorm(features, elementwise_affine=False) if layer_norm else nn.Identity()
        self.embedding = nn.Linear(features, embedding_dim)
        self.normalize = normalize

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch; float32 whatever the precision of the backbone."""
        embeddings = self.embedding(self.norm(self.backbone(images))).float()
        return normalized(embeddings) if self.normalize else embeddings


class FeaturesThrough(nn.Module):
    """What stands for a frozen backbone whose features are computed already: features [B, F] pass as they are."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, features: Tensor) -> Tensor:
        """The features themselves."""
        return features
