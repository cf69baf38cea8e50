"""Reading a study: a YAML file becomes a list of checked `RunSpec`, or one `StudyError` that names every mistake."""
