"""The command line as `python -m synthlib`."""

from synthlib.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
