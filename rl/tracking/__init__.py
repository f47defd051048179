"""What a run reports: metrics, samples, pictures, and the live table."""
