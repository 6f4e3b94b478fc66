"""One training run: loss, schedule, order of clips, mmengine Runner, sharding, checkpoints."""
