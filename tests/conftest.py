"""What every test starts from."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs us in the background has it ignored, and a program that a test starts would inherit that:
    # the Ctrl-C that the test sends would never arrive.
    signal.signal(signal.SIGINT, signal.default_int_handler)
