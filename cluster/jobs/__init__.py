"""A recipe as a job on a cluster: submit, follow, ship, Kubernetes, Slurm."""
