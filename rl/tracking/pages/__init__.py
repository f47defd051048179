"""Pages of a run as HTML files that need nothing from anywhere else: playback, galleries, the report."""
