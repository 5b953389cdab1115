"""Where order flow lies: in single files, in folders of them, and in prepared sets, which tell what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mars_lmm.data.errors import DataError
from mars_lmm.data.prepared import MANIFEST, TOKENIZER, PreparedSet

FLOW = "flow"  # a set's folder of order flow
BESIDE_FLOW = ("rows", "rejected", "work", TOKENIZER)  # what else a set holds, also one that is not finished
UNFINISHED = ".partial"  # ends the name of a set that is being prepared


@dataclass
class FlowFiles:
    """The order flow at some paths.

    Attributes:
        files: Each file, and what its set's manifest tells of its session; None where no manifest names it.
        problems: Files and sets that do not fit each other, and how.
        notes: Sets that are worth knowing of, and why.
    """

    files: dict[Path, dict[str, Any] | None] = field(default_factory=dict)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Find the order flow of a path.

        Args:
            path: A parquet file; or a folder of them or of prepared sets, which is searched with its subfolders.

        Raises:
            DataError: There is none.
        """
        if path.is_file():
            self.files[path] = None
            return
        sets = _find_sets(path)
        flows = {file: None for file in sorted(path.rglob("*.parquet")) if sets.isdisjoint(file.parents)}
        if not sets and not flows:
            raise DataError(path, "no order flow: name a parquet file, a folder of them, or a prepared set")
        for folder in sorted(sets):
            self._add_set(folder)
        self.files |= flows

    def _add_set(self, folder: Path) -> None:
        present = sorted((folder / FLOW).rglob("*.parquet"))
        self.files |= dict.fromkeys(present)
        if not (folder / MANIFEST).is_file():
            if folder.name.endswith(UNFINISHED):
                self.notes.append((folder, "a set that is not finished; the command that began it goes on with it"))
            else:
                self.problems.append((folder, f"a set without its manifest {MANIFEST}; prepare the data again"))
            return
        try:
            sessions = PreparedSet.load(folder).sessions
        except DataError as error:
            self.problems.append((Path(error.source), error.reason))
            return
        named = {folder / session["flow"]: session for session in sessions}
        self.files |= named
        unnamed = f"{MANIFEST} does not name this flow; remove it, or prepare the data again"
        self.problems += [(file, unnamed) for file in present if file not in named]


def _find_sets(path: Path) -> set[Path]:
    """The prepared sets in a folder, itself included; a set may lack its manifest."""
    with_manifest = {file.parent for file in path.rglob(MANIFEST)}
    with_flow = {flow.parent for flow in path.rglob(FLOW) if flow.is_dir()}
    return with_manifest | {folder for folder in with_flow if any((folder / name).exists() for name in BESIDE_FLOW)}
