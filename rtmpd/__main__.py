"""`python -m rtmpd` is `rtmpd`."""

from __future__ import annotations

from rtmpd.cli import main

if __name__ == "__main__":
    main()
