"""Parts of the board's page, as data for its templates."""
