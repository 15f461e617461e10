"""Pictures of nets.

`nodes.py` reads a net file's layers, `diagram.py` makes boxes and edges of them, and `labels.py`
what stands in a box; `layered.py` finds places for boxes of given sizes, `picture.py` makes shapes
of both, and `svg.py` and `png.py` write them. `graphviz.py` hands the diagram to `dot` instead.
"""
