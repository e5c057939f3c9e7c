"""What `test_ranks.py` has torchrun run, `ranks_restarted.py FOLDER`: the first time, one of two processes is lost."""

import os
import sys
from pathlib import Path

from unbraid.training.ranks import ranks_of_torchrun


def main(folder: Path) -> None:
    time_around, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], int(os.environ["RANK"])
    (folder / f"{time_around}_{rank}").touch()
    while rank == 0 and not (folder / f"{time_around}_1").exists():  # so that it finds what was left before
        pass
    with ranks_of_torchrun("cpu") as ranks:
        got = ranks.shared(time_around.encode())
        if time_around == "0":
            os._exit(1)
        (folder / f"got_{time_around}_{rank}").write_bytes(got)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
