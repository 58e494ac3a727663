"""Make a flow's weights from nothing: `python -m synthlib.phase.flow FOLDER`.

Hours of a core: subjects are simulated, statistics of smooth phase gathered, both stages
trained, and FOLDER/flow.safetensors written. The same command goes on where it was stopped.
`--stage coarse` and `--stage fine` train one stage alone, side by side in two processes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from synthlib.phase.flow import recipe, weights


def main() -> None:
    parser = argparse.ArgumentParser(prog="synthlib.phase.flow", description=__doc__)
    parser.add_argument("folder", type=Path, help="for examples, checkpoints and the weights")
    parser.add_argument("--stage", choices=["coarse", "fine"], help="train this one, and stop")
    parser.add_argument("--workers", type=int, default=1, help="processes for the subjects")
    parser.add_argument("--device", default="cpu", help="of the training: cpu or cuda")
    chosen = parser.parse_args()
    made = recipe.make(
        recipe.Recipe(),
        chosen.folder,
        stage=chosen.stage or "",
        workers=chosen.workers,
        device=chosen.device,
    )
    if made is not None:
        path = chosen.folder / recipe.WEIGHTS
        weights.save(path, made, half=True)
        print(path)


if __name__ == "__main__":
    main()
