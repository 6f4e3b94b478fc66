"""Texts around a class name that several methods share."""

ACTION_TEMPLATES = (
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "{}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
)
"""The sixteen texts of ActionCLIP. Source: sallymmx/ActionCLIP, utils/Text_Prompt.py."""

_NOUNS = ("photo", "video", "example", "demonstration")
_ACTIONS = ("", *(f"a person {word}" for word in ("", "using ", "doing ", "during ", "performing ", "practicing ")))
VIDEO_TEMPLATES = tuple(f"a {noun} of {action}{{}}." for noun in _NOUNS for action in _ACTIONS)
"""The 28 texts around a class name of Open-VCLIP, FROSTER and MoTE, derived from CLIP's prompts for UCF-101.
Source: ZMHH-H/MoTE, modules/text_prompt.py; the same list in wengzejia1/Open-VCLIP and Visual-AI/FROSTER."""
