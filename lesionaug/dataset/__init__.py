"""Whole synthetic data sets on disk.

INPUT ──► sources ──► cases ──► executor ──► produce ──► commit ──► OUT
layouts   one per     source x  this process, one case   all of a   one record per case,
          scan        variant   many, Dask               case or    merged into the manifest
                                                         nothing
A case depends on its source, its variant and the settings, on nothing else: not on who makes it, nor when.
"""
