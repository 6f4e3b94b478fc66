"""The contract check of a method: a tiny CLIP, small inputs, and one check for each promise."""
