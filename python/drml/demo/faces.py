"""People and their pictures: the demo face with another geometry and other colors, in any light.

A `Person` keeps what does not change from picture to picture. `draw` moves a person's muscles,
turns the head, registers the result to its eye centers as real data are, and lights it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drml.demo import muscles, wrinkles
from drml.demo.landmarks import (
    EYES,
    PARTED,
    REST,
    Points,
    eye_centers,
    index,
)
from drml.demo.texture import EDGE, MARGIN, SCALE, Image, line, sample, textures
from drml.demo.warp import Array, dense_map, unfolded
from drml.faces.names import FRAME
from drml.faces.register import similarity, transform

# What the darkest skin takes away from the photograph's blue, green and red.
DARKEST_SKIN = np.array([0.64, 0.57, 0.45])
# The photograph's fair hair times these is fair, red, brown, black and light brown hair.
HAIR_COLORS = np.array(
    [(1.0, 1.0, 1.0), (0.6, 0.7, 0.95), (0.7, 0.62, 0.6), (0.5, 0.36, 0.3), (0.8, 0.82, 0.85)]
)
# Light that comes out of a fold has passed through skin: it is redder (BGR).
SHADE_COLOR = np.array([1.25, 1.05, 0.75], np.float32)
_DOWN, _ACROSS = (np.mgrid[:FRAME, :FRAME].astype(np.float32) - 100) / 100
_BULGE = np.sqrt(np.clip(1 - 0.6 * _ACROSS**2 - 0.4 * _DOWN**2, 0, 1)) - np.float32(0.8)


LEAST_ROOM = 11.0


@dataclass(frozen=True)
class Person:
    """One identity: where the points lie at rest, and the two textures in that person's colors."""

    offset: Points
    """What to add to REST (or PARTED): (points, 2)."""
    closed: Image
    parted: Image
    mirrored: bool
    wrinkles: float
    """How strongly the muscles line the skin, about 1."""


def _smooth_field(rng: np.random.Generator, cells: int, side: int) -> Array:
    """Noise of mean about 0 and deviation about 0.7 that varies over side / cells pixels."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _geometry(rng: np.random.Generator) -> Points:
    """A random face shape as displacements of REST; eye centers stay about where they are."""
    taper, width, length, nose_width, nose_length, mouth_width, mouth_drop, lips = _traits(rng, 8)
    brow_drop, brow_tilt, brow_gap, eye_width, eye_height, chin_drop, jaw_width = _traits(rng, 7)
    x, y = REST[:, 0] - 100, REST[:, 1] - 72
    low = np.clip(y / 130, 0, 1.1)
    move = _waves(rng)
    move[:, 0] += x * (0.05 * taper * low + 0.035 * width * np.clip(np.abs(x) / 60, 0, 1))
    move[:, 1] += 3.9 * length * low
    nose = [*range(27, 36), index("wing_l"), index("wing_r")]
    move[nose, 0] += 0.09 * nose_width * x[nose]
    move[nose, 1] += 0.05 * nose_length * np.clip(y[nose], 0, 50)
    mouth = [*range(48, 68)]
    move[mouth, 0] += 0.06 * mouth_width * x[mouth]
    around = [index(name) for name in ("philtrum", "crease", "corner_out_l", "corner_out_r")]
    move[mouth + around, 1] += 1.5 * mouth_drop
    # A long nose, a short face and a high mouth together must leave room for the lip to rise.
    room = (REST + move)[51, 1] - (REST + move)[33, 1]
    move[mouth + around, 1] += max(LEAST_ROOM - room, 0.0)
    for outer, inner in muscles.OUTER_TO_INNER.items():
        move[outer, 1] += 0.13 * lips * (REST[outer, 1] - REST[inner, 1])
    brows = [*range(17, 27), index("glabella")]
    brows += [index(f"over_brow_{side}") for side in ("l", "il", "ir", "r")]
    move[brows, 1] += 1.3 * brow_drop + 1.2 * brow_tilt * (np.abs(x[brows]) - 40) / 20
    move[brows, 0] += 1.5 * brow_gap * np.sign(x[brows])
    for eye in (slice(36, 42), slice(42, 48)):
        center = REST[eye].mean(axis=0)
        move[eye] += (REST[eye] - center) * (0.06 * eye_width, 0.1 * eye_height)
    chin = [*range(5, 12), index("chin"), index("chin_l"), index("chin_r")]
    move[chin, 1] += 2.5 * chin_drop * (1 - np.abs(x[chin]) / 70)
    jaw = [3, 4, 5, 6, 10, 11, 12, 13]
    move[jaw, 0] += 2.0 * jaw_width * np.sign(x[jaw])
    return move


def _traits(rng: np.random.Generator, count: int) -> list[float]:
    """Normal numbers without extremes, each of which sets a trait between two opposites."""
    return [float(trait) for trait in np.clip(rng.standard_normal(count), -1.8, 1.8)]


def _waves(rng: np.random.Generator) -> Points:
    """Smooth displacements of a pixel or so all over the face, so that no face is symmetric."""
    across, down = (np.cos(np.pi * REST[:, axis, None] / FRAME * np.arange(3)) for axis in (0, 1))
    waves = np.einsum("ni,aij,nj->na", across, rng.standard_normal((2, 3, 3)), down)
    return np.asarray(0.5 * waves, np.float64)


def _brows(rng: np.random.Generator) -> Array:
    """How much of the skin a person's brows cover: from the photograph's thin ones to bushy."""
    thickness, density = rng.uniform(1.5, 4.5), rng.uniform(0.1, 0.75)
    cover = textures().skin * 0
    for brow in (REST[17:22], REST[26:21:-1]):
        outer, inner = line(brow[:3], 0.7 * thickness, 0.8), line(brow[1:], thickness, 0.9)
        cover = np.maximum(cover, np.maximum(outer, inner))
    grain = 1 + 0.2 * rng.standard_normal(cover.shape, np.float32)
    return np.clip(density * cover * grain, 0, 0.9)


def _paint(rng: np.random.Generator) -> tuple[Image, Image]:
    """Both textures with a person's skin, hair, brows, lips, clothes and background."""
    source = textures()
    side = source.skin.shape[0]
    tone = rng.beta(1.1, 2.0) * DARKEST_SKIN
    skin = (1 - tone) * rng.normal(1, (0.03, 0.015, 0.015))
    hair = rng.uniform(0.75, 1.1) * HAIR_COLORS[rng.integers(len(HAIR_COLORS))]
    hair *= 1 - 0.8 * tone.mean()
    suit = rng.uniform(0.6, 1.8) * rng.uniform(0.9, 1.1, 3)
    back = rng.uniform(0.3, 1.05) * rng.uniform(0.85, 1.1, 3)
    lips = rng.normal(1, (0.03, 0.04, 0.02)) * rng.uniform(0.85, 1.0)
    freckles, flush = _smooth_field(rng, 24, side), _smooth_field(rng, 5, side)
    stubble = np.float32(max(0.0, rng.uniform(-0.6, 0.4))) * _beard(side)
    patches = 1 + np.float32(0.1) * _smooth_field(rng, 4, side)
    relief = cv2.exp(np.float32(0.04) * freckles + np.float32(0.06) * flush - stubble)
    brows = _brows(rng)
    brow_color = np.array([20, 30, 45]) * rng.uniform(0.5, 1.8)
    closed, parted = np.empty_like(source.closed), np.empty_like(source.parted)
    for channel in range(3):
        gain = source.skin * (relief * np.float32(skin[channel]))
        gain += source.hair * np.float32(hair[channel])
        gain += source.suit * np.float32(suit[channel])
        gain += source.background * (patches * np.float32(back[channel]))
        gain *= 1 + source.lips * np.float32(lips[channel] - 1)
        gain += source.eyes * (np.float32(skin.mean() ** 0.4) - gain)
        gain *= 1 - brows
        added = brows * np.float32(brow_color[channel])
        for texture, painted in ((source.closed, closed), (source.parted, parted)):
            painted[..., channel] = np.minimum(texture[..., channel] * gain + added, 255)
    return closed, parted


@lru_cache(maxsize=1)
def _beard(side: int) -> Array:
    """Where stubble grows, 0 to 1, in texture pixels."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / SCALE - MARGIN
    distance = np.hypot((x - 100) / 1.05, (y - 108) / 1.1)
    jaw = 1 / (1 + np.exp((46 - distance) / 5)) / (1 + np.exp((128 - y) / 7))
    lip = np.exp(-(((x - 100) / 27) ** 4) - ((y - 130.5) / 5) ** 2)
    return np.asarray(np.maximum(jaw / (1 + np.exp((y - 203) / 2)), lip), np.float32)


def make_person(rng: np.random.Generator) -> Person:
    """A new identity drawn from `rng`."""
    closed, parted = _paint(rng)
    return Person(_geometry(rng), closed, parted, bool(rng.random() < 0.5), rng.uniform(0.7, 1.2))


@lru_cache(maxsize=1)
def _height() -> NDArray[np.float64]:
    """How far each point stands out of the face's plane, in pixels: an ellipsoid with a nose."""
    x, y = REST[:, 0], REST[:, 1]
    head = np.sqrt(np.clip(1 - ((x - 100) / 84) ** 2 - ((y - 105) / 120) ** 2, 0.02, 1))
    nose = np.clip((y - 68) / 48, 0, 1) * (y < 125) * np.exp(-(((x - 100) / 11) ** 2))
    return 62 * head + 20 * nose - 30


def _turn(points: Points, yaw: float, pitch: float) -> Points:
    """The points seen after the head turned by two angles (radians)."""
    turned = points.copy()
    turned[:, 0] = 100 + (points[:, 0] - 100) * np.cos(yaw) + _height() * np.sin(yaw)
    turned[:, 1] = 105 + (points[:, 1] - 105) * np.cos(pitch) + _height() * np.sin(pitch)
    return turned


def sitter() -> Person:
    """The person of the photograph, with no wrinkles but those that muscles make."""
    source = textures()
    return Person(np.zeros_like(REST), source.closed, source.parted, False, 1.0)


def draw(
    person: Person, strength: NDArray[np.float64], parted: bool, rng: np.random.Generator
) -> Image:
    """A 200 x 200 BGR picture of a person whose muscles pull with `strength` (12, 2).

    `parted` shows the teeth. Pose, registration error, light, colors, blur and noise are drawn
    from `rng`.
    """
    rest = PARTED if parted else REST
    points = muscles.move(rest + person.offset, strength, parted)
    points = _turn(points, np.deg2rad(7) * rng.normal(), np.deg2rad(4) * rng.normal())
    register = similarity(eye_centers(points), EYES + rng.normal(0, 1.0, (2, 2)))
    points = transform(register, points)
    # Lips that touch have each point of the seam twice.
    once = slice(None) if parted else muscles.CLOSED
    plate = unfolded(np.vstack([points[once], EDGE]), np.vstack([rest[once], EDGE]), 0, FRAME)
    x, y = dense_map(plate, 0, 1, FRAME, FRAME if person.mirrored else None)
    face = sample(person.parted if parted else person.closed, x, y)
    lines = wrinkles.shade(strength.mean(axis=1) * person.wrinkles)
    shade = cv2.remap(lines, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return _light(face, np.asarray(shade, np.float32), rng)


def _light(face: Image, shade: Array, rng: np.random.Generator) -> Image:
    """The face lit from a random side, through a random camera."""
    across, down, level = rng.normal(0, (0.18, 0.15, 0.08)).astype(np.float32)
    relief = np.float32(rng.uniform(0.1, 0.5))
    light = across * _ACROSS + down * _DOWN + relief * _BULGE + level
    tint = rng.normal(0, 0.03, 3).astype(np.float32)
    gain = cv2.merge(
        [cv2.exp(light + c * shade + t) for c, t in zip(SHADE_COLOR, tint, strict=True)]
    )
    gamma = np.exp(rng.normal(0, 0.1))
    table = (255 * (np.arange(256) / 255) ** gamma).astype(np.float32)
    picture = cv2.LUT(face, table) * gain
    sigma = rng.uniform(0.0, 0.9)
    if sigma > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    noise = rng.standard_normal(picture.shape, np.float32)
    picture += noise * np.float32(rng.uniform(0.5, 4.0))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)
