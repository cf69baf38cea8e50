"""Data sets: one file each.

Contract: constructor `(data_root, *, options)`; `source(progress) -> ImageSource` lists what there is without decoding
more than it must. Train and test classes are disjoint. What is missing is named in a DataError.

A data set that is published as archives has `places`, where it may lie in the data folder, the first of which begin
with the data set's own name, and `archives`: file name -> MD5 digest, where one is known. One that may be downloaded
has `fetch(folder) -> archives`.
"""
