"""Tables, figures and the board, made from records. Does not import torch."""
