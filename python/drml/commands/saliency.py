"""`saliency --model NET --weights W --input FACES --out FOLDER`: where in a face a net looks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drml.commands.options import chosen_device, existing_file
from drml.errors import UsageError

if TYPE_CHECKING:
    from drml.blob import Array
    from drml.data.images import Pixels

_DESCRIPTION = """\
Draws the saliency of action units: for each pixel of a face, the magnitude of the gradient of an
AU's logit, the greatest over the color channels. OUT gets, for each net, NAME.npy with the raw maps
(images, AUs, height, width) and a picture IMAGE_AUn.png of each face and AU; index.json, which
names images and AUs; and grid.png with a row per face and a column per AU, or where several nets
are given, grid_AUn.png with a column per net.
"""
_GRID = "grid"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = subparsers.add_parser(
        "saliency", help="draw where in a face a net looks, per AU", description=_DESCRIPTION
    )
    parser.add_argument(
        "--model",
        type=existing_file,
        action="append",
        required=True,
        metavar="FILE",
        help="a deploy net; may be given several times",
    )
    parser.add_argument(
        "--weights",
        type=existing_file,
        action="append",
        required=True,
        metavar="FILE",
        help="its .caffemodel, or .h5; one for each --model",
    )
    parser.add_argument(
        "--mean",
        type=existing_file,
        action="append",
        metavar="FILE",
        help="the mean image that is subtracted; one for all nets, or one for each",
    )
    parser.add_argument(
        "--input",
        nargs="+",
        action="extend",
        required=True,
        metavar="IMAGE",
        help="image files, folders or patterns; resized to the size of the mean image, or else of "
        "the net's input, and cropped from the center",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="what to make")
    parser.add_argument("--au", metavar="A[,A2]", help="the AUs to draw (default: all)")
    parser.add_argument("--aus", metavar="A[,A2]", help="names of all outputs, such as 1,2,4")
    parser.add_argument(
        "--smooth",
        type=_pixels,
        default=2.0,
        metavar="PX",
        help="blur of the pictures, not of the .npy files, as a standard deviation in pixels "
        "(default: %(default)g)",
    )


def _pixels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 100, got {text[:80]!r}")
    return value


def run(args: argparse.Namespace) -> int:
    """Computes everything, then writes it."""
    from drml import saliency
    from drml.deploy import find_images

    models = _models(args)
    names = _names(args.model)
    images = find_images(args.input)
    wanted = args.au.split(",") if args.au is not None else None
    found: dict[str, tuple[list[str], list[Pixels], Array]] = {}
    for name, (model, weights, mean) in zip(names, models, strict=True):
        found[name] = _of_net(args, model, weights, mean, images, wanted)
    aus = _shared_aus(found)
    files: dict[Path, Any] = {}
    stems: set[str] = set()
    image_names = [saliency.file_stem(path, stems) for path in images]
    overlays: dict[str, list[list[Pixels]]] = {}
    for name, (own, faces, maps) in found.items():
        files[args.out / f"{name}.npy"] = maps
        overlays[name] = [
            [saliency.overlay(face, maps[row, own.index(au)], smooth=args.smooth) for au in aus]
            for row, face in enumerate(faces)
        ]
        for stem, line in zip(image_names, overlays[name], strict=True):
            for au, picture in zip(aus, line, strict=True):
                files[args.out / name / f"{stem}_{_label(au)}.png"] = picture
    files |= _grids(args.out, found, overlays, aus, image_names)
    index = {
        "what": "magnitude of the gradient of the logit, the greatest over color channels",
        "images": [str(path) for path in images],
        "nets": {name: {"aus": own, "file": f"{name}.npy"} for name, (own, _, _) in found.items()},
    }
    files[args.out / "index.json"] = (json.dumps(index, indent=1) + "\n").encode()
    _write(files)
    grids = [path for path in files if path.name.startswith(_GRID)]
    print("\n".join(str(path) for path in [args.out / "index.json", *grids]))
    return 0


def _models(args: argparse.Namespace) -> list[tuple[Path, Path, Path | None]]:
    count = len(args.model)
    if len(args.weights) != count:
        raise UsageError(f"{count} --model need as many --weights, not {len(args.weights)}")
    means = args.mean or [None]
    if len(means) == 1:
        means = means * count
    if len(means) != count:
        raise UsageError(f"{count} --model need one --mean or as many, not {len(means)}")
    return list(zip(args.model, args.weights, means, strict=True))


def _names(models: list[Path]) -> list[str]:
    from drml.saliency import file_stem

    taken: set[str] = {_GRID, "index"}
    return [file_stem(path.stem.removesuffix("_deploy"), taken) for path in models]


def _of_net(
    args: argparse.Namespace,
    model: Path,
    weights: Path,
    mean: Path | None,
    images: list[Path],
    wanted: list[str] | None,
) -> tuple[list[str], list[Pixels], Array]:
    """Names of the AUs, the faces as the net sees them, and the maps."""
    import numpy as np

    from drml.deploy import Preparation
    from drml.saliency import LogitGradients
    from drml.weights import read_mean

    names = args.aus.split(",") if args.aus is not None else None
    with LogitGradients(model, weights, aus=names, device=chosen_device(args)) as net:
        columns = net.columns(wanted)
        prepare = Preparation(net.shape, None if mean is None else read_mean(mean))
        batch = np.stack([prepare(path) for path in images])
        aus = [net.aus[column] for column in columns]
        return aus, [prepare.picture(image) for image in batch], net.maps(batch, aus)


def _shared_aus(found: dict[str, tuple[list[str], list[Pixels], Array]]) -> list[str]:
    lists = [aus for aus, _, _ in found.values()]
    shared = [au for au in lists[0] if all(au in other for other in lists[1:])]
    if not shared:
        raise UsageError(f"the nets {' and '.join(found)} have no AU in common")
    return shared


def _label(au: str) -> str:
    return f"AU{au}" if au.isdigit() else au.replace(" ", "")


def _grids(
    out: Path,
    found: dict[str, tuple[list[str], list[Pixels], Array]],
    overlays: dict[str, list[list[Pixels]]],
    aus: list[str],
    images: list[str],
) -> dict[Path, Pixels]:
    from drml.saliency import grid

    faces = next(iter(found.values()))[1]
    if len(found) == 1:
        (lines,) = overlays.values()
        rows = [[face, *line] for face, line in zip(faces, lines, strict=True)]
        return {out / f"{_GRID}.png": grid(rows, ["face", *map(_label, aus)], images)}
    grids = {}
    for column, au in enumerate(aus):
        rows = [
            [face, *(lines[row][column] for lines in overlays.values())]
            for row, face in enumerate(faces)
        ]
        grids[out / f"{_GRID}_{_label(au)}.png"] = grid(rows, ["face", *overlays], images)
    return grids


def _write(files: dict[Path, Any]) -> None:
    """Writes bytes as they are, pictures as PNG and maps as .npy."""
    import io

    import numpy as np

    from drml.data.images import encode
    from drml.errors import DataError
    from drml.weights import atomic_write

    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path.parent}: {error.strerror or error}") from error
        if path.suffix == ".png":
            content = encode(content, "png")
        elif path.suffix == ".npy":
            buffer = io.BytesIO()
            np.save(buffer, content)
            content = buffer.getvalue()
        atomic_write(path, content)
