"""A number that two processes share."""

from __future__ import annotations

import subprocess
import sys

from rtmpd.workers.marker import Marker

CRASH = """
import os, sys
from rtmpd.workers.marker import Marker
Marker(int(sys.argv[1])).packaging_id = 2**40
os.abort()
"""


def test_what_a_process_had_in_hand_is_known_when_it_has_crashed():
    marker = Marker()
    assert marker.packaging_id == 0
    command = [sys.executable, "-c", CRASH, str(marker.descriptor)]
    assert subprocess.run(command, pass_fds=[marker.descriptor], check=False).returncode == -6

    assert marker.packaging_id == 2**40
    marker.close()
    marker.close()
