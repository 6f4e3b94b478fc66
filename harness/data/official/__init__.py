"""The official datasets: their published lists, and how lists are generated from annotations."""
