"""What survives: a judge that is killed."""
