"""Go: from an import to the files that declare what is used of it.

A package is a directory, so an edge to every file of an imported package would make the files of a package
alike. An edge here goes to the files that declare a top-level name which the importer uses through the
import; the same holds inside a package, where nothing is written. Build tags are not judged: files for any
system or architecture count.
"""

from __future__ import annotations

from alexandria.domain.imports.go.manifests import wanted_manifests
from alexandria.domain.imports.go.resolution import resolve

__all__ = ["resolve", "wanted_manifests"]
