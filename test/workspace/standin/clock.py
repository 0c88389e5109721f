"""clock.py: the workspace's own time, in epoch milliseconds.

Separate because every other part must take its time from here and never from
the system: a test can speed the clock up, stop it, or step it.

Invariant: now() never goes backwards.
"""

import time


class Clock:
    def __init__(self, speed=1.0):
        self.speed = float(speed)
        self._base_ms = time.time() * 1000.0
        self._base_mono = time.monotonic()

    def now(self):
        """Current workspace time in whole milliseconds."""
        return int(self._base_ms + (time.monotonic() - self._base_mono) * 1000.0 * self.speed)

    def _rebase(self):
        mono = time.monotonic()
        self._base_ms += (mono - self._base_mono) * 1000.0 * self.speed
        self._base_mono = mono

    def set_speed(self, speed):
        """0 stops the clock; later speeds count from where it stands."""
        if speed < 0:
            raise ValueError("speed must not be negative")
        self._rebase()
        self.speed = float(speed)

    def advance(self, ms):
        if ms < 0:
            raise ValueError("the clock cannot go back")
        self._rebase()
        self._base_ms += ms
