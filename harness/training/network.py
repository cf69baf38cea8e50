"""The network every method shares: backbone, linear embedding layer, unit norm where the objective wants it."""

from __future__ import annotations

from torch import Tensor, nn

from harness.geometry import normalized


class EmbeddingNetwork(nn.Module):
    """Images [B, C, H, W] in [0, 1] -> embeddings [B, D]; the same normalization in training and in evaluation."""

    def __init__(self, backbone: nn.Module, embedding_dim: int, normalize: bool) -> None:
        super().__init__()
        features = backbone.features
        assert isinstance(features, int)
        self.backbone = backbone
        self.embedding = nn.Linear(features, embedding_dim)
        self.normalize = normalize

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch; float32 whatever the precision of the backbone."""
        embeddings = self.embedding(self.backbone(images)).float()
        return normalized(embeddings) if self.normalize else embeddings
