"""What every test starts from."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs us in the background has it ignored, and a program that a test starts would inherit that:
    # the Ctrl-C that the test sends would never arrive.
    signal.signal(signal.SIGINT, signal.default_int_handler)
