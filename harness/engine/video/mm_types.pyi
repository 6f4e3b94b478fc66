"""Types of mmaction2's recognisers, which have no type hints. A stub: imported for type checks only."""

from torch import Tensor, nn

class Preprocessor(nn.Module):
    """Type of mmaction2's data preprocessors, which have no type hints."""

    format_shape: str

    def preprocess(self, data: list[Tensor], samples: None, training: bool) -> tuple[Tensor, None]:
        """Return normalised inputs."""
        ...

class MMRecognizer(nn.Module):
    """Type of mmaction2's recognisers, which have no type hints."""

    data_preprocessor: Preprocessor
    cls_head: nn.Module

    def extract_feat(self, inputs: Tensor, test_mode: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features, and arguments of the head."""
        ...
