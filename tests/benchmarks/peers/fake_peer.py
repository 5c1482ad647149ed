"""A peer for tests: python fake_peer.py WAY [ARGUMENT ...].

It finds one face, whatever the photo is. The age is the number at the beginning of the photo's
name, plus ARGUMENT. A photo whose name ends with "empty.jpg" has no face, and for "broken.jpg"
there is an error.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

BOX = (10, 20, 100, 80)


def write(value: object) -> None:
    print(json.dumps(value), flush=True)


def answer(photo: str, years: float) -> dict[str, object]:
    name = Path(photo).name
    if name.endswith("broken.jpg"):
        return {"photo": photo, "error": "it cannot be read"}
    faces = [{"age": int(name.split("_")[0]) + years, "box": BOX}]
    return {"photo": photo, "seconds": 1e-6, "faces": [] if name.endswith("empty.jpg") else faces}


way, argument = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "0"
if way == "missing":
    sys.exit("it is not installed")
write({"version": "1.2", "engine": way})
for number, line in enumerate(sys.stdin):
    photo = line.rstrip("\n")
    is_portrait = Path(photo).name == "portrait.jpg"
    if is_portrait:
        write({"photo": photo, "seconds": 1e-6, "faces": []})
    elif way == "good":
        write(answer(photo, float(argument)))
    elif way == "recording":
        with open(argument, "a", encoding="utf-8") as file:
            file.write(f"{sys.argv[3]} {Path(photo).name}\n")
        write(answer(photo, 0))
    elif way == "late":  # from a photo on, it answers for another one
        write(answer(photo if number <= int(argument) else "0_other.jpg", 0))
    elif way == "crashing":
        print("a warning\nout of memory\n", file=sys.stderr)
        sys.exit(3)
    elif way == "silent":
        sys.exit(4)
    elif way == "nonsense":
        print("Loading the model ...", flush=True)
    elif way == "hanging":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(argument).write_text(str(child.pid), encoding="utf-8")
        time.sleep(60)
