"""
What every muxer must do, as cases that anybody can run on a muxer of their own.

Tell the kit how to make the muxer and how to read what it wrote (`Subject`), then run `CASES`, one by one as the
parameters of a test, or all with `check_muxer`:

    subject = Subject(make=MyMuxer, read=my_reader, file_name="recording.mine")

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_conformance(case, tmp_path):
        case(subject, tmp_path)

A case raises AssertionError. Formats differ in what they carry and in when they need a new file; the cases hold them to
one rule: a frame is in an output, in its place, or it is counted in `left_out` and there was a reason.
"""

from __future__ import annotations

from pathlib import Path

from muxers.conformance_checks import Case, ReadFrame, Subject
from muxers.conformance_faults import FAULT_CASES
from muxers.conformance_streams import STREAM_CASES

__all__ = ["CASES", "Case", "ReadFrame", "Subject", "check_muxer"]

CASES = STREAM_CASES + FAULT_CASES
"""Every case."""


def check_muxer(subject: Subject, folder: Path) -> None:
    """
    Run all cases.

    Args:
        subject: the muxer.
        folder: exists; gets a folder for each case.

    Raises:
        AssertionError: the muxer does something else.
    """
    for number, case in enumerate(CASES):
        place = folder / str(number)
        place.mkdir()
        case(subject, place)
