"""What the command line has to know of faces before anything that takes time is imported."""

from __future__ import annotations

FRAME = 200
"""Side of the square picture that registered faces lie in, in pixels."""

FIT_NAMES = ("all", "nose-eyes")
"""Keys of `drml.faces.register.FITS`."""

FINDER_NAMES = ("mediapipe", "dlib")
"""Keys of `drml.faces.find.FINDERS`."""
