"""A user's own folder or table of videos as a dataset."""
