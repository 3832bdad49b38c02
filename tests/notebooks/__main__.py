"""python -m tests.notebooks [NAME …]: run notebooks in the lab from a fresh kernel and save them with their outputs."""

import sys
import time

from tests.notebooks import NOTEBOOKS, execute, save


def main(names: list[str]) -> int:
    paths = [path for path in NOTEBOOKS if not names or path.stem in names or path.stem[:2] in names]
    failed = 0
    for path in paths:
        print(f"  {path.stem} …", end=" ", flush=True)
        start = time.monotonic()
        notebook, error = execute(path)
        print(f"{time.monotonic() - start:.0f} s")
        if error:
            failed += 1
            print(f"{error}\n{path.name} was left as it is.", file=sys.stderr)
        else:
            save(notebook, path)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
