"""How much memory this process ever held."""

import resource
import sys
from pathlib import Path


def peak_megabytes() -> float:
    """Return the most memory that this process ever held, in millions of bytes; what its parent held before is none of it."""
    status = Path("/proc/self/status")
    if status.exists():
        peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if peaks:
            return int(peaks[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
