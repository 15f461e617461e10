"""Aligning pictures and videos: find or look up the landmarks, choose a face, register, write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from drml.data.images import Pixels, decode, encode, read_bytes
from drml.errors import DataError
from drml.faces.find import Finder, nearest
from drml.faces.landmarks import Points
from drml.faces.lookup import Lookup
from drml.faces.names import FRAME
from drml.faces.record import Record, Row, Skip
from drml.faces.register import align
from drml.faces.sources import Source
from drml.faces.video import Video
from drml.weights import atomic_write

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4


@dataclass(frozen=True)
class Options:
    """How faces are chosen and written.

    Attributes:
        size: side of the square pictures.
        fit: which landmarks are fitted, of drml.faces.register.FITS.
        kind: `jpg` or `png`.
        quality: of JPEG files, 1 to 100.
        largest: of several faces, take the largest instead of none.
        workers: threads that decode, find and write.
    """

    size: int = FRAME
    fit: str = "all"
    kind: str = "jpg"
    quality: int = 95
    largest: bool = False
    workers: int = 2


@dataclass(frozen=True, eq=False)
class _Look:
    """A picture or frame on its way: what is known of it so far.

    Attributes:
        source, frame: where it is from; frame 0 is a picture.
        picture: the file to write, relative to the folder.
        image: its pixels; None until a picture was read.
        faces: landmarks and score of each face, the largest first.
        done: its row where an earlier run wrote it.
        problem: why no face of it can be written.
    """

    source: Source
    picture: str
    frame: int = 0
    image: Pixels | None = None
    faces: Sequence[tuple[Points, str]] = ()
    done: Row | None = None
    problem: str = ""

    def skip(self) -> Skip:
        return Skip(str(self.source.path), str(self.frame or ""), self.problem)


class Aligner:
    """Aligns sources into a record's folder.

    What cannot be used, a picture that is none, without a face or with two, is skipped and noted.
    Of several faces in a video's frame, the one nearest to the face before is taken.

    Args:
        record: of the folder.
        options: how to choose and write.
        finder: for any number of threads; None where landmarks are given.
        given: the landmarks that come with the sources; None where they are found.
    """

    def __init__(
        self,
        record: Record,
        options: Options,
        finder: Finder | None = None,
        given: Lookup | None = None,
    ) -> None:
        self.skipped: list[Skip] = []
        self.written = 0
        self._record = record
        self._options = options
        self._finder = finder
        self._given = given

    def run(self, sources: Iterable[Source], progress: Callable[[int], object]) -> None:
        """Aligns what is not in the folder yet; `progress` is told of every picture and frame.

        Raises:
            DrmlError: the folder cannot be written, or landmarks that were given cannot be read.
        """
        workers = self._options.workers
        pool = ThreadPoolExecutor(workers, thread_name_prefix="align")
        try:
            looked = in_order(pool, self._look, self._looks(sources, progress), _AHEAD * workers)
            for look in in_order(pool, self._write, self._chosen(looked), _AHEAD * workers):
                progress(1)
                if look.problem:
                    self.skipped.append(look.skip())
                elif look.done is not None and look.done.picture not in self._record.kept:
                    self._record.add(look.done)
                    self.written += 1
        finally:
            pool.shutdown(cancel_futures=True)

    def _looks(
        self, sources: Iterable[Source], progress: Callable[[int], object]
    ) -> Iterator[_Look]:
        """The pictures that are not done yet, and every frame of videos."""
        for source in sources:
            if source.is_video:
                yield from self._frames(source)
                continue
            picture = f"{source.name}.{self._options.kind}"
            if picture in self._record.kept:
                progress(1)
            else:
                yield _Look(source, picture)

    def _frames(self, source: Source) -> Iterator[_Look]:
        try:
            video = Video(source.path)
        except DataError as error:
            self._skip_video(source, error)
            return
        for frame, image in enumerate(video, 1):
            picture = f"{source.name}/{frame:05}.{self._options.kind}"
            done = self._record.kept.get(picture)
            yield _Look(source, picture, frame, None if done else image, done=done)
        if video.problem:
            self.skipped.append(Skip(str(source.path), "", video.problem))

    def _skip_video(self, source: Source, error: DataError) -> None:
        reason = str(error).removeprefix(f"{source.path}: ")
        self.skipped.append(Skip(str(source.path), "", reason))

    def _look(self, look: _Look) -> _Look:
        """Reads a picture, and finds the faces in it or looks their landmarks up."""
        if look.done is not None:
            return look
        image = look.image
        if image is None:
            try:
                image = decode(read_bytes(look.source.path))
            except DataError as error:
                reason = str(error).removeprefix(f"{look.source.path}: ")
                return replace(look, problem=reason)
        if self._given is not None:
            points = self._given.of(look.source, look.frame)
            if points is None:
                return replace(look, problem="no landmarks given")
            return replace(look, image=image, faces=[(points, "")])
        assert self._finder is not None
        found = self._finder.find(image)
        faces = [(face.points49, f"{face.score:.4f}") for face in found]
        return replace(look, image=image, faces=faces, problem="" if faces else "no face")

    def _chosen(self, looks: Iterable[_Look]) -> Iterator[_Look]:
        """The looks with one face each; those with several by the video's frame before."""
        before: tuple[Source, Points] | None = None
        for look in looks:
            faces = look.faces
            if len(faces) > 1:
                if before is not None and before[0] == look.source:
                    index = nearest([points for points, _ in faces], before[1])
                    faces = faces[index : index + 1]
                elif self._options.largest:
                    faces = faces[:1]
                else:
                    look = replace(look, problem=f"{len(faces)} faces")
                    faces = ()
            if look.source.is_video and (faces or look.done is not None):
                points = look.done.source_points if look.done is not None else faces[0][0]
                before = look.source, points
            yield replace(look, faces=faces)

    def _write(self, look: _Look) -> _Look:
        """Registers the face and writes it."""
        if look.problem or look.done is not None:
            return look
        assert look.image is not None
        ((points, score),) = look.faces
        options = self._options
        try:
            picture, moved = align(look.image, points, options.size, fit=options.fit)
        except DataError as error:
            return replace(look, image=None, problem=str(error))
        path = self._record.folder / look.picture
        path.parent.mkdir(parents=True, exist_ok=True)
        # Waiting for the disk can take longer than all the rest; Record looks for what a power cut
        # may have emptied.
        atomic_write(path, encode(picture, options.kind, options.quality), durable=False)
        source, frame = str(look.source.path), str(look.frame or "")
        row = Row(look.picture, source, frame, score, moved, points)
        return replace(look, image=None, done=row)


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """The results of a function for items, in their order, `ahead` of them computed by a pool."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
