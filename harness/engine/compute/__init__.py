"""The device and the process group on which the engine computes."""
