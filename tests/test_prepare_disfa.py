"""DISFA as it comes: videos that end early or not at all, frames, files of intensities."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from prepare_testing import edit, face, options, write_disfa, write_video

from drml.errors import DataError
from drml.prepare.clip import ImageFiles, VideoFile
from drml.prepare.disfa import read_intensities
from drml.prepare.job import prepare, scan
from drml.prepared import Prepared

pytestmark = pytest.mark.cpu_only


@pytest.mark.parametrize("threshold", [1, 3, 5])
def test_disfa_videos(tmp_path: Path, threshold: int) -> None:
    tree = write_disfa(tmp_path / "x")
    data = scan(options("disfa", tree, threshold=threshold))
    assert data.aus == ["1", "12"]
    assert [clip.name for clip in data.clips] == ["SN001/left", "SN002/left", "SN003/left"]
    assert data.clips[1].keys[0] == "SN002/left/00001"
    intensities = [[(frame + column) % 6 for column in range(2)] for frame in range(6)]
    wanted = np.where(np.array(intensities) >= threshold, 1, -1)
    assert data.clips[0].labels.tolist() == wanted.tolist()
    assert isinstance(data.clips[0].source, VideoFile)
    images = list(data.clips[1].source.read([1, 4]))
    for image, number in zip(images, (7, 10), strict=True):
        assert isinstance(image, np.ndarray)
        assert np.abs(image.astype(int) - face(number)).mean() < 3


def test_disfa_of_other_names_and_endings(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x")
    videos = tree / "Videos_LeftCamera"
    videos.rename(tree / "left videos")
    for path in (tree / "left videos").iterdir():
        path.rename(path.with_name(path.name.lower().replace(".avi", ".AVI")))
    write_video(tree / "Videos_RightCamera" / "RightVideoSN001_comp.avi", [face(0)] * 6)
    assert scan(options("disfa", tree)).subjects == ["SN001", "SN002", "SN003"]
    right = scan(options("disfa", tree, camera="right", landmarks="find", points=None))
    assert [clip.name for clip in right.clips] == ["SN001/right"]
    assert right.notes == ["SN002, SN003 (2 in all): coding but no images; left out"]


@pytest.mark.parametrize("first", [0, 1])
def test_disfa_frames(tmp_path: Path, first: int) -> None:
    tree = write_disfa(tmp_path / "x", video=False)
    folder = tree / "Videos_LeftCamera" / "SN001"
    if first == 0:
        # Images that are counted from 0, and labels from 1.
        for path in sorted(folder.iterdir()):
            path.rename(folder / f"frame_{int(path.stem) - 1}.png")
    data = scan(options("disfa", tree))
    assert data.clips[0].keys[0] == "SN001/left/00001"
    assert data.clips[0].places == tuple(range(6))
    assert isinstance(data.clips[0].source, ImageFiles)
    assert data.notes == []


def test_disfa_frames_go_before_the_video_that_they_are_from(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x", video=False)
    write_video(tree / "LeftVideoSN001_comp.avi", [face(0)] * 6)
    data = scan(options("disfa", tree))
    assert isinstance(data.clips[0].source, ImageFiles)
    shutil.copytree(tree / "Videos_LeftCamera" / "SN001", tree / "again" / "SN001")
    with pytest.raises(DataError, match="is of SN001, and so is"):
        scan(options("disfa", tree))


def test_disfa_numbers_from_0(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x")
    for path in (tree / "ActionUnit_Labels" / "SN001").iterdir():
        lines = [line.split(",") for line in path.read_text().splitlines()]
        path.write_text("".join(f"{int(a) - 1},{b}\n" for a, b in lines))
    clip = scan(options("disfa", tree)).clips[0]
    assert clip.keys[0] == "SN001/left/00000"
    assert clip.places == tuple(range(6))


def test_disfa_label_files_that_miss_frames_or_have_more(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x")
    labels = tree / "ActionUnit_Labels"
    edit(labels / "SN001" / "SN001_au1.txt", lambda text: text.replace("3,2\n", ""))
    for au in (1, 12):
        edit(labels / "SN002" / f"SN002_au{au}.txt", lambda text: text[: text.index("5,")])
        edit(labels / "SN003" / f"SN003_au{au}.txt", lambda text: text + "7,0\n8,5\n")
    out = tmp_path / "out"
    manifest, _ = prepare(out, options("disfa", tree))
    assert sorted(manifest["notes"]) == [
        "1 frames of SN001 have no line for some AU, which is unknown there",
        "2 frames of SN002/left are not coded and left out",
    ]
    prepared = Prepared(out)
    assert len(prepared.keys) == 6 + 4 + 6
    assert prepared.labels[2].tolist() == [0, 1]
    # The last two are beyond the end of the video.
    assert (out / "excluded.csv").read_text().splitlines()[1:] == [
        "SN003/left/00007,the video ends before it",
        "SN003/left/00008,the video ends before it",
    ]


def test_disfa_landmarks_of_a_video_that_ends_early(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x")
    video = tree / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi"
    write_video(video, [face(number) for number in range(4)])
    manifest, _ = prepare(tmp_path / "out", options("disfa", tree))
    assert manifest["counts"]["excluded"] == {"the video ends before it": 2}
    assert Prepared(tmp_path / "out").keys[3:5] == ["SN001/left/00004", "SN002/left/00001"]


def test_disfa_video_cut_short(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x")
    video = tree / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi"
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    manifest, _ = prepare(tmp_path / "out", options("disfa", tree))
    excluded = manifest["counts"]["excluded"]["the video ends before it"]
    assert 1 <= excluded <= 5
    assert manifest["counts"]["frames"] == 18 - excluded


@pytest.mark.parametrize("data", [b"", b"no video", b"RIFF    AVI "])
def test_disfa_video_that_cannot_be_decoded(tmp_path: Path, data: bytes) -> None:
    tree = write_disfa(tmp_path / "x")
    video = tree / "Videos_LeftCamera" / "LeftVideoSN002_comp.avi"
    video.write_bytes(data)
    with pytest.raises(DataError) as error:
        scan(options("disfa", tree))
    assert str(error.value) == f"{video}: cannot be decoded as a video"
    assert scan(options("disfa", tree, without=("SN002",))).subjects == ["SN001", "SN003"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("hello", ":1: is not `frame,intensity`: 'hello'"),
        ("1,0\n2,x\n", ":2: the intensity is 'x', not a whole number"),
        ("1,0\n2,-1\n", ":2: the intensity is '-1', not a whole number"),
        ("1,0\n2,6\n", ":2: the intensity is 6, but 0 to 5 are known"),
        ("1,0\n1,0\n", ":2: frame 1 comes twice"),
        ("1,0,0\n", ":1: is not `frame,intensity`: '1,0,0'"),
    ],
)
def test_bad_coding_of_disfa(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "SN001_au1.txt"
    path.write_text("1,0\n2,5\n")
    assert read_intensities(path) == {1: 0, 2: 5}
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_intensities(path)
    assert str(error.value) == f"{path}{message}"


def test_disfa_aus_that_are_not_coded(tmp_path: Path) -> None:
    tree = write_disfa(tmp_path / "x")
    with pytest.raises(DataError, match="x: codes no AU 9; coded are 1, 12"):
        scan(options("disfa", tree, aus=("9",)))
    (tree / "ActionUnit_Labels" / "SN002" / "SN002_au12.txt").unlink()
    with pytest.raises(DataError, match=r"SN002: no coding of AU 12, SN002_au12.txt"):
        scan(options("disfa", tree))
