"""Our mediapipe finder's mesh beside that of MediaPipe's own package, on openau's frames.

    pip install mediapipe    # in an environment of its own: it brings another OpenCV
    python benchmarks/mediapipe_parity.py [--step 16]

Prints, of every tree, the median and the greatest distance of the 478 points, in pixels, and the
CPU time of a frame, ours in one thread; MediaPipe chooses its own.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from openau_faces import TREES, add_options, check, frames

from drml.faces.mediapipe_finder import MediapipeFinder, model_file


def main() -> None:
    """Prints a line per tree."""
    import cv2

    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError:
        sys.exit("MediaPipe's package is not installed")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    args = parser.parse_args()
    check(args.openau)
    cv2.setNumThreads(1)
    ours = MediapipeFinder()
    options = vision.FaceLandmarkerOptions(BaseOptions(model_asset_path=str(model_file())))
    with vision.FaceLandmarker.create_from_options(options) as theirs:
        for tree in TREES:
            distances, spent = [], []
            for frame in frames(args.openau, tree, args.step):
                height, width = frame.picture.shape[:2]
                start = time.process_time()
                mesh = ours.mesh(frame.picture)
                between = time.process_time()
                rgb = np.ascontiguousarray(frame.picture[:, :, ::-1])
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
                faces = theirs.detect(image).face_landmarks
                spent.append((between - start, time.process_time() - between))
                if mesh is None or not faces:
                    print(f"{tree}: found by {'MediaPipe' if faces else 'us'} alone, or by none")
                    continue
                points = np.array([(point.x * width, point.y * height) for point in faces[0]])
                distances.append(np.linalg.norm(mesh - points, axis=1))
            ms, their_ms = 1000 * np.median(spent, axis=0)
            print(
                f"{tree}: {len(distances)} frames, distance median {np.median(distances):.3f} px, "
                f"greatest {np.max(distances):.3f} px; {ms:.1f} ms, MediaPipe {their_ms:.1f} ms"
            )


if __name__ == "__main__":
    main()
