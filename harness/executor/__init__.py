"""Carrying out a plan as jobs: on a SLURM cluster or as processes of this machine, through submitit."""
