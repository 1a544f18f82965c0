"""Talk to a 3D head: ``python run_demo.py``; ``--help`` lists what else it can do."""

import sys


def main() -> int:
    """Run the demo. Returns the exit status: 2, with one sentence, where this Python cannot run it."""
    try:
        if sys.version_info < (3, 11):  # noqa: UP036 - this is where it is found out
            return refuse(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; start it with that.")
        from demo import app

        return app.main()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("demo", "streamingtalker"):
            raise  # a fault of ours
        return refuse(f"The package {error.name!r} is not installed; run 'pip install -r requirements.txt'.")
    except KeyboardInterrupt:
        return 130


def refuse(sentence: str) -> int:
    """Say why it does not start; the exit status."""
    print(sentence, file=sys.stderr)
    return 2


if __name__ == "__main__":  # the server's process reads this file, too
    sys.exit(main())
