"""uvicorn with a sampler: takes uvicorn's arguments, and SIGUSR1 to start and to write to the file `SAMPLES`."""

import os
import signal
from pathlib import Path

import uvicorn

from benchmarks.profile.sampler import Sampler

if __name__ == "__main__":
    Sampler(Path(os.environ["SAMPLES"]), signal.SIGUSR1)
    uvicorn.main()
