"""From video files to uint8 frames: mmaction2 pipelines, exact readers, guarded decoding, batches of clips."""
