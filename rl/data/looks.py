"""How closely the pictures of a source are looked at before a run: decoding 50,000 of them takes many minutes."""

from __future__ import annotations

import os
from typing import Any

from rl.data.values import shown
from rl.errors import ConfigError
from rl.pixels import open_image, require_whole

CHECK = "check_images"  # the argument of a file that says how
FIRST, OF_EACH_DOUBLING = 256, 64


class Looks:
    """Looks at one picture after the other, and counts.

    check   True: each one's first and last bytes, and a sample is decoded whole: the first 256, then 64 of each doubling
            ``"all"``: each one is decoded. False: a file only has to be there
    seen, decoded   how many there were, and how many of them this decoded on purpose
    """

    def __init__(self, check: bool | str = True) -> None:
        self.check, self.seen, self.decoded = check, 0, 0

    @staticmethod
    def of(where: str, args: Any) -> Looks:
        """As the arguments of a source ask. Raises ConfigError."""
        check = args.get(CHECK, True)
        if check not in (True, False, "all"):
            raise ConfigError(f"{where}: {CHECK}={shown(check)}: allowed: true, false, all")
        return Looks(check)

    def at(self, picture: str | bytes) -> None:
        """A file's path, or an encoded picture. Raises DataError."""
        place = self.seen
        self.seen += 1
        if self.check is False:
            if not isinstance(picture, bytes) and not os.path.isfile(picture):
                open_image(picture)  # it says what is wrong
        elif self.check == "all" or is_sampled(place):
            self.decoded += 1
            open_image(picture)
        else:
            require_whole(picture)

    @property
    def sampled(self) -> bool:
        """Whether some were not decoded, though pictures were to be looked at."""
        return self.check is not False and self.decoded < self.seen


def is_sampled(place: int) -> bool:
    """Whether the picture at this place, from 0, is decoded whole. A source's length need not be known for that."""
    if place < FIRST:
        return True
    doubling = (place // FIRST).bit_length() - 1
    return place % ((FIRST // OF_EACH_DOUBLING) << doubling) == 0
