"""What a process that was killed left in a folder: results to record, MLflow runs to close."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench import atomic, records
from bench.errors import UserError, described
from bench.records import Status
from bench.run import recording
from bench.run.checkpoint import Checkpoint
from bench.run.record import folder_tag
from bench.store.errors import NoStore
from bench.store.mlflow import RecordedCell, Store


class Leftovers:
    """What earlier processes left in the folder `results`; the caller holds the suite's lock."""

    def __init__(
        self,
        results: Path,
        suite: str,
        announce: Callable[[str], None],
        has_job: Callable[[str], bool] = lambda key: False,
    ) -> None:
        """Name the folder. `has_job` tells whether the cell of a key waits or runs elsewhere."""
        self._has_job = has_job
        self._results, self._suite, self._announce = results, suite, announce
        self._folder = folder_tag(results)
        self._invocation = results / suite / "invocation"

    # --- results -------------------------------------------------------------------------------

    def record(self, store: Store) -> None:
        """Record the cells that ended where MLflow could not take their results."""
        for path in sorted(self._results.glob("checkpoints/*/record.json")):
            checkpoint = Checkpoint(self._results, path.parent.name, self._announce)
            try:
                with checkpoint.held():
                    record = checkpoint.record
                    if record is not None:
                        recording.send(record, store, checkpoint)
                        self._announce(f"{record.name}: recorded, as an earlier run could not")
            except Exception as error:  # whatever a store raises: it stays where it is
                self._announce(f"{path.parent} is not recorded yet: {described(error)}")

    # --- runs ----------------------------------------------------------------------------------

    def remember_invocation(self, run_id: str, uri: str) -> None:
        """Keep the parent run's id and store while it runs, so that a killed one can be closed."""
        atomic.write_text(self._invocation, f"{run_id}\n{uri}\n")

    def forget_invocation(self) -> None:
        """The parent run is closed."""
        self._invocation.unlink(missing_ok=True)

    def close(self, store: Store) -> None:
        """Close the runs left open, in `store` and in that of the last invocation."""
        run_id, uri = self._remembered()
        if uri not in ("", store.uri):
            try:
                self.close_runs(Store(uri, create=False), parent=run_id)
            except NoStore:
                pass
            except UserError as error:
                self._announce(f"runs of an earlier invocation stay open: {error}")
        self.close_runs(store, parent=run_id)
        self.forget_invocation()

    def close_runs(self, store: Store, parent: str = "", but: str = "") -> None:
        """Close the runs of this suite and folder in `store` whose process is dead.

        Args:
            store: where they are.
            parent: one that is of this folder, wherever that was.
            but: one that is not dead.
        """
        for run in store.open_runs(self._suite):
            if run.run_id != but and self._is_dead(run, parent):
                status = run.tags.get(records.STATUS, "")
                ended = status in set(Status) - {Status.RUNNING, Status.MISSING}
                if ended:  # killed between the tag and MLflow's own status
                    store.end(run.run_id, Status(status), run.tags.get(records.ERROR, ""))
                else:
                    why = "its process ended without a word"
                    store.end(run.run_id, Status.INTERRUPTED, why)

    def _is_dead(self, run: RecordedCell, parent: str) -> bool:
        is_ours = run.tags.get(records.FOLDER) == self._folder
        if run.tags.get(records.KIND) != "cell":
            return is_ours or run.run_id == parent
        key = run.tags.get(records.TRAINED, "")
        if self._has_job(key):
            return False
        checkpoint = Checkpoint(self._results, key, self._announce)
        return (is_ours or checkpoint.run_id == run.run_id) and not checkpoint.is_held

    def _remembered(self) -> tuple[str, str]:
        """Parent run and store of an invocation that was killed; empty where there is none."""
        try:
            run_id, _, uri = self._invocation.read_text(encoding="utf-8").strip().partition("\n")
        except FileNotFoundError:
            return "", ""
        except (OSError, ValueError) as error:
            aside = atomic.set_aside(self._invocation)
            self._announce(
                f"{self._invocation} cannot be read ({error}): it is kept as {aside.name}"
            )
            return "", ""
        return run_id, uri
