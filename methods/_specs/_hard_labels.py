"""Check of recipes of methods whose loss needs one class for each clip."""

from harness.api import Recipe, UserError


def require_hard_labels(name: str, recipe: Recipe) -> None:
    """Refuse a recipe that smooths or blends targets.

    Raises:
        UserError: `smoothing`, `mixup` or `cutmix` of the recipe is above 0.
    """
    settings = {"smoothing": recipe.smoothing, "mixup": recipe.mixup, "cutmix": recipe.cutmix}
    given = [f"{setting}={value:g}" for setting, value in settings.items() if value > 0]
    if given:
        raise UserError(
            f"The loss of {name} needs one class per clip; the recipe has {', '.join(given)}, expected 0.",
            "Set --recipe smoothing=0 --recipe mixup=0 --recipe cutmix=0.",
        )
