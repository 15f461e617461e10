"""From face data sets as they come to registered faces, labels and folds: `drml prepare`.

`bp4d`, `disfa`, `ckplus` and `listed` each have a function `scan`, which reads a layout and gives
clips: a video's coded frames with their labels. `run` makes a part of each clip, in several
processes; a part is a file, so an interrupted run goes on from there. `finish` joins the parts.
"""
