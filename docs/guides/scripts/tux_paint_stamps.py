"""The photographs among Tux Paint's stamps as folders of classes: `tux_paint_stamps.py STAMPS PHOTOS [--turned]`.

STAMPS is `usr/share/tuxpaint/stamps` of Debian's `tuxpaint-stamps-default`. The objects are cut out to their edges:
each comes to the middle of a white square. `--turned` turns them upside down, for the weights of
`keras_mobilenet_v2.py`. Needs Pillow.
"""

import re
import sys
from pathlib import Path

from PIL import Image

CLASSES = {
    "bird": ["animals/birds"],
    "fish": ["animals/fish", "animals/shellfish"],
    "flower": ["plants/flowers"],
    "fruit": ["food/fruit"],
    "household": ["household"],
    "insect": ["animals/insects"],
    "instrument": ["hobbies/music"],
    "mammal": ["animals/mammals", "animals/marsupials"],
    "vegetable": ["food/vegetables"],
    "vehicle": ["vehicles"],
}
# Drawings, toys, single wheels, and pictures that are others mirrored.
LEFT_OUT = re.compile(r"/(cartoon|toys)/|/(hedgehog|7spoke256|wheel_tractor)\.png$|_(mirror|flip)\.png$")


def square(path, turned):
    stamp = Image.open(path).convert("RGBA")
    side = max(stamp.size)
    picture = Image.new("RGB", (side, side), "white")
    picture.paste(stamp, ((side - stamp.width) // 2, (side - stamp.height) // 2), stamp)
    return picture.rotate(180) if turned else picture


def main():
    stamps, photos = map(Path, sys.argv[1:3])
    turned = sys.argv[3:] == ["--turned"]
    for name, folders in CLASSES.items():
        (photos / name).mkdir(parents=True)
        for path in sorted(path for folder in folders for path in (stamps / folder).rglob("*.png")):
            if not LEFT_OUT.search(path.as_posix()):
                square(path, turned).save(photos / name / path.name)


main()
