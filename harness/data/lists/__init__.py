"""Lists and label sets: file format, rules that derive lists, and the interface of a dataset. Needs no videos."""
