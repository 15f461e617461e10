"""Joins the frames of a video with their labels, and notes what has no partner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from drml.data.labels import ABSENT, UNKNOWN
from drml.errors import DataError
from drml.nearest import nearest
from drml.prepare.clip import Clip, Dataset, Labels, Source, in_order
from drml.prepare.options import DROP, NEGATIVE, Options


@dataclass
class Tally:
    """Gathers what is alike in many videos into one note.

    Attributes:
        one: the note on one video, with {where} and {count}.
        many: on several, of which {where} and {count} are the first, {total} of {files} in all.
    """

    one: str
    many: str
    found: list[tuple[str, int]] = field(default_factory=list)

    def add(self, where: str, count: int) -> None:
        """Counts something of a video; 0 is nothing to note."""
        if count:
            self.found.append((where, count))

    def notes(self) -> list[str]:
        """A note, or none."""
        if not self.found:
            return []
        where, count = self.found[0]
        if len(self.found) == 1:
            return [self.one.format(where=where, count=count)]
        total = sum(count for _, count in self.found)
        return [self.many.format(where=where, count=count, total=total, files=len(self.found))]


class Joiner:
    """Makes the clips of a data set.

    Args:
        dataset: its name, see Options.
        aus: names of the label columns.
        options: with the policy for unknown labels and the subjects to leave out.
        digits: of a frame's number in its key, at least.
    """

    def __init__(self, dataset: str, aus: list[str], options: Options, digits: int) -> None:
        self._data = Dataset(dataset, aus, [])
        self._options = options
        self._digits = digits
        self._uncoded = Tally(
            "{count} frames of {where} are not coded and left out",
            "{total} frames of {files} videos are not coded and left out ({where}: {count}, ...)",
        )
        self._missing = Tally(
            "{count} coded frames of {where} have no image and are left out",
            "{total} coded frames of {files} videos have no image and are left out "
            "({where}: {count}, ...)",
        )

    def add(
        self,
        name: str,
        numbers: Sequence[int],
        labels: Labels,
        places: Mapping[int, int],
        source: Source,
        points: str | None,
    ) -> None:
        """Adds a video.

        Args:
            name: `SUBJECT/VIDEO`.
            numbers: of the coded frames, rising.
            labels: (frames, AUs) of them.
            places: frame number -> which frame of the source it is, from 0.
            source: of the frames.
            points: the file with the landmarks of all frames of the source, if they are given.
        """
        width = max(self._digits, len(str(numbers[-1])))
        keys = [f"{name}/{number:0{width}d}" for number in numbers]
        labels, stay = settle_unknown(labels, self._options.unknown)
        kept = []
        for row, number in enumerate(numbers):
            if number not in places:
                self._data.excluded.append((keys[row], "no image"))
            elif not stay[row]:
                self._data.excluded.append((keys[row], "a label is unknown"))
            else:
                kept.append(row)
        self._missing.add(name, sum(number not in places for number in numbers))
        self._uncoded.add(name, len(places.keys() - set(numbers)))
        if kept:
            self._data.clips.append(
                Clip(
                    name,
                    tuple(keys[row] for row in kept),
                    tuple(places[numbers[row]] for row in kept),
                    labels[kept],
                    source,
                    points,
                )
            )

    def note_unmatched(self, sources: set[str], coded: set[str]) -> None:
        """Notes the videos that have no coding, and the coding that has no video."""
        for left_out, what in (
            (sorted(sources - coded), "no coding"),
            (sorted(coded - sources), "coding but no images"),
        ):
            if left_out:
                more = ", ..." if len(left_out) > 3 else ""
                names = ", ".join(left_out[:3]) + more
                self._data.notes.append(f"{names} ({len(left_out)} in all): {what}; left out")

    def finish(self) -> Dataset:
        """The data set.

        Raises:
            DataError: nothing is left of it.
        """
        if not self._data.clips:
            raise DataError(f"{self._options.root}: no frame has both an image and a coding")
        self._data.clips = in_order(self._data.clips)
        self._data.notes += [*self._uncoded.notes(), *self._missing.notes()]
        return self._data


def check_without(options: Options, names: Iterable[str]) -> None:
    """Refuses to leave out a subject whom the data, with these names of videos, do not hold."""
    known = {name.partition("/")[0] for name in names}
    for subject in options.without:
        if subject not in known:
            raise DataError(
                f"{options.root}: has no subject {subject} to leave out{nearest(subject, known)}"
            )


def settle_unknown(labels: Labels, policy: str) -> tuple[Labels, list[bool]]:
    """Labels (frames, AUs) under a policy for unknown ones, and which frames stay.

    Args:
        labels: -1, 0 and 1.
        policy: see Options.unknown.
    """
    stay = np.ones(len(labels), bool)
    if policy == NEGATIVE:
        labels = np.where(labels == UNKNOWN, np.int8(ABSENT), labels)
    elif policy == DROP:
        stay = (labels != UNKNOWN).all(axis=1)
    return labels, stay.tolist()
