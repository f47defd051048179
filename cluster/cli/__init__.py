"""The command line: ``unigrpo COMMAND``."""


def main() -> None:
    """What the console script ``unigrpo`` calls."""
    from cluster.cli.app import main as run  # importing it takes Typer, which a worker process does not need

    run()
