"""Settings of this machine: folders, compute options and caches. Nothing here enters a key of a cell."""
