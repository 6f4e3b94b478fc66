"""Jobs: the open cells of a request on a SLURM cluster or as processes of this machine, through submitit."""
