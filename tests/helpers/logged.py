"""The log as a server has it, in memory."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings

import structlog

from rtmpd import logs


@contextlib.contextmanager
def log_in_memory(level="info"):
    """Configure the log of this process, and put everything back; gives the stream that lines are written to."""
    root, inherited = logging.getLogger(), os.environ.get(logs.LEVEL_VARIABLE)
    handlers, root_level, show = list(root.handlers), root.level, warnings.showwarning
    stream = io.StringIO()
    logs.configure(level, stream)
    try:
        yield stream
    finally:
        logging.captureWarnings(capture=False)
        warnings.showwarning = show
        root.handlers[:], root.level = handlers, root_level
        os.environ.pop(logs.LEVEL_VARIABLE)
        if inherited is not None:
            os.environ[logs.LEVEL_VARIABLE] = inherited
        structlog.reset_defaults()
