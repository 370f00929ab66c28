"""Where the files of a data set's scans are: one file per layout, each with one function `find(root)`."""
