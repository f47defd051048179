"""Programs against the test code of published data sets."""
