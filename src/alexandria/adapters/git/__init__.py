"""Repositories read through git: directories of this machine, and clones that are never checked out."""

from alexandria.adapters.git.clone import GitSource
from alexandria.adapters.git.directory import DirectorySource
from alexandria.adapters.git.limits import SourceLimits
from alexandria.adapters.git.scratch import sweep_leftovers

__all__ = ["DirectorySource", "GitSource", "SourceLimits", "sweep_leftovers"]
