"""Faces in photographs and videos: their landmarks, and the frame that nets see them in."""
