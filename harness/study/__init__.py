"""Reading a study: a YAML file becomes a list of checked `RunSpec`, or one `StudyError` that names every mistake.

`source` reads YAML into nodes that know their places; `schema` knows the keys of the file; `expand` turns the grid into
combinations; `resolve` turns a combination into the parts of a run; `pairs` knows which parts do not go together;
`conditions` decides which runs stay; `study` tells the whole story.
"""

from harness.study.study import Study

__all__ = ["Study"]
