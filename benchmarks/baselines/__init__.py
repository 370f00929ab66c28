"""What users would pick instead, written from the papers: plain functions from a scan and donors to a scan.

Both take and return `lesionaug.scan.Scan`, change neither argument, and draw all that is random from one generator.
"""

from benchmarks.baselines.carvemix import carvemix
from benchmarks.baselines.copy_paste import copy_paste, donors_in

__all__ = ["carvemix", "copy_paste", "donors_in"]
