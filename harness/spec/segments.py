"""Sampling of one frame from each of T equal segments of a video, under the rule of one of the published codes."""

from __future__ import annotations

SEGMENT_RULES = ("segments", "segments_mote", "segments_actionclip", "segments_viclip")
"""Values of `Views.sampling`. In training a frame of each segment is drawn, in evaluation it is fixed.

    segments             ST-Adapter and AIM on SSv2, Vita-CLIP's TSN: segments share their borders; middle frame
    segments_mote        MoTE: training as `segments`; in evaluation the first frame, several clips shifted evenly
    segments_actionclip  ActionCLIP and EZ-CLIP: segments without a common frame; the middle frame, rounded down
    segments_viclip      ViCLIP: the frame before the middle; short videos repeat their last frame
"""
