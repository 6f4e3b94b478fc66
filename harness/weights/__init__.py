"""Weight files: their format, their tensors by name and shape, and the model that they belong to. Without torch."""
