"""Data sets: one file each.

Contract: constructor `(data_root, *, options)`; `source(progress) -> ImageSource` lists what there is without decoding
more than it must. Train and test classes are disjoint. What is missing is named in a DataError.
"""
