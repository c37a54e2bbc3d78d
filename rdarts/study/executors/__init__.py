"""What runs the runs of a study: processes of this machine, Slurm, Ray; one file each."""
