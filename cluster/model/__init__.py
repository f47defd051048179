"""The policy as an MLflow model: what it holds, where it goes, and under which name it is registered."""
